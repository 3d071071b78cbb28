"""Hydra's config source `frostline://DIR`: the files of --config-dir."""

from frostline.config.hydra_source import OwnFiles

__all__ = ["OwnFiles"]
