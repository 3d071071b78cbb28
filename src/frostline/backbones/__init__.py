"""Pretrained networks without their classifiers: depth-ordered groups, cuts, strict loading of weights."""
