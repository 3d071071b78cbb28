"""Processes of ours: where they import from, how they are asked to stop, and how they end."""
