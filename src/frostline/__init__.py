"""Frostline: how much of a pretrained network should be frozen, and what does that cost?"""

__version__ = "0.1.0"
