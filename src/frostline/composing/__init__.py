"""What composing by Hydra is held to: its own node, users' files, interpolations."""
