"""The changes of a plan, applied to a network in their order."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.backbones import changes
from frostline.backbones.base import Backbone
from frostline.errors import make_choice_error
from frostline.freeze.plan import Change


@dataclass(frozen=True)
class Site:
    """What a change knows beside the network: how it is made anew, with pretrained weights or random ones; the run's
    seed, and what its data node says of the samples.
    """

    make: Callable[[bool], Backbone]
    seed: int
    data: Mapping[str, Any]


def apply_changes(backbone: Backbone, wanted: Sequence[Change], site: Site) -> Backbone:
    """Return the network after these changes; it may be another one. Raises UserError for one that does not fit it."""
    for change in wanted:
        backbone = find_change(change.kind)(backbone, change.options, site)
    return backbone


def find_change(kind: str) -> Callable[[Backbone, Mapping[str, Any], Site], Backbone]:
    """Return the ``apply`` of a kind of change: of the module of that name here. Raises UserError for another name."""
    known = sorted({found.name for found in pkgutil.iter_modules(changes.__path__)} - {"apply"})
    if kind not in known:
        raise make_choice_error("freeze: the change", kind, known)
    return importlib.import_module(f"{changes.__name__}.{kind}").apply
