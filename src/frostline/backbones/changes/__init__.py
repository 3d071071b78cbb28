"""What a plan does to a network before anything trains: one module for each kind of change, with its `apply`."""
