"""Heads: the task-specific layers that stand on a backbone's features, or on several of its depths."""

from frostline.heads.attentive import Attentive
from frostline.heads.base import Head, Scaling
from frostline.heads.frames import FrameLinear, check_frames
from frostline.heads.layer_mix import LayerMix
from frostline.heads.plain import MLP, Cosine, Linear
from frostline.heads.taps import Taps

__all__ = [
    "MLP",
    "Attentive",
    "Cosine",
    "FrameLinear",
    "Head",
    "LayerMix",
    "Linear",
    "Scaling",
    "Taps",
    "check_frames",
]
