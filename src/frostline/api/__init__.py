"""Frostline from Python: the program, one's own network and data, one's own LightningModule."""
