"""The ranks of a run: which one this process is, what they exchange, and how they compute."""
