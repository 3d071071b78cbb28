"""Tensors, datasets of torch and LightningDataModules of the user's own, as data sets."""
