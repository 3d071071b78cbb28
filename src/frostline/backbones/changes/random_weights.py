"""Random weights in place of pretrained ones: for controls, which show what pretraining is worth."""

from collections.abc import Mapping
from typing import Any

from frostline.backbones.base import Backbone
from frostline.backbones.changes.apply import Site
from frostline.config.signature import make_key_error


def apply(backbone: Backbone, options: Mapping[str, Any], site: Site) -> Backbone:
    """Return the network anew: its weights are a function of the seed, and its BatchNorm normalises by batches.

    Raises UserError for options: there are none.
    """
    if options:
        raise make_key_error(f"freeze.changes: random_weights.{next(iter(options))}", ())
    return site.make(False)
