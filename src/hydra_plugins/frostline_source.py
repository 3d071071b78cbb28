"""Hydra's config source `frostline://DIR`: the files of --config-dir."""

from frostline.composing.source import OwnFiles

__all__ = ["OwnFiles"]
