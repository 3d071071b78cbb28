"""Data sets of target tasks: what stands in them, how they are split, and the batches they are served in."""
