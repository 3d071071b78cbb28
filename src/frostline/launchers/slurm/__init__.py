"""SLURM: runs are jobs of a cluster."""
