"""A comparison: its cells, their runs, and what makes them fair."""
