"""Training: one Lightning fit for each phase of a plan."""
