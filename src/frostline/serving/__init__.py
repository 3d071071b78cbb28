"""Using what was trained: predictions for new samples, and models that run without Frostline."""
