"""What all builders of image networks share: running the network one way or another, and what is said."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from frostline.backbones.traced.backbone import ImageBackbone, resolve_channels_last
from frostline.data.inputs import Pixels
from frostline.errors import UserError, choices


@dataclass(frozen=True)
class Execution:
    """How a network is run, whatever its weights are."""

    channels_last: bool | str
    live_statistics: bool
    compile: bool


def resolve_batch_norm(setting: str, random: bool) -> bool:
    """Resolve ``backbone.batch_norm``: ``auto`` keeps the statistics that came with pretrained weights."""
    if setting not in ("auto", "live", "frozen"):
        raise choices("backbone.batch_norm", setting, ["auto", "live", "frozen"])
    return setting == "live" or (setting == "auto" and random)


def finished(
    network: nn.Module,
    grouping: Callable[[nn.Module], dict[str, list[str]]],
    name: str,
    preprocess: Pixels,
    execution: Execution,
    notes: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> ImageBackbone:
    """Return the backbone around a network that holds its weights already."""
    return ImageBackbone(
        network,
        name,
        grouping(network),
        preprocess,
        architecture=f"{type(network).__module__}.{name} {dict(settings or {})}",
        channels_last=resolve_channels_last(execution.channels_last, network),
        live_statistics=execution.live_statistics,
        compile=execution.compile,
        notes=notes,
    )


def unknown_name(name: str, known: Sequence[str]) -> UserError:
    """Return the error for a network that is not there, with names close to it."""
    close = ", ".join(difflib.get_close_matches(name, known, n=5, cutoff=0.5)) or "nothing close to it"
    return UserError(f"backbone.name: {name!r} is not known; did you mean: {close}?")


def create_network(build: Callable[[], nn.Module], name: str, size: int | None) -> nn.Module:
    """Return the network that ``build`` makes. Raises UserError where its arguments do not suit it."""
    try:
        return build()
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        key = f"data.size: {name} cannot be built for {size} pixels" if size else f"backbone.name: cannot build {name}"
        raise UserError(f"{key} ({str(error).rstrip('.')}); choose another.") from error
