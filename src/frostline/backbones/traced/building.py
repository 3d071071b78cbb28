"""What all builders of image networks share: a network is built, made a backbone, and mistakes are said."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from frostline.backbones.traced.backbone import ImageBackbone, resolve_channels_last
from frostline.data.inputs import Pixels
from frostline.errors import UserError, make_choice_error


@dataclass(frozen=True)
class Execution:
    """How a network is run, whatever its weights are: keys that all image backbones share, as a config has them."""

    channels_last: bool | str
    batch_norm: str
    compile: bool


@dataclass(frozen=True)
class Built:
    """A network that holds its weights: what it was built from, and ``notes`` on its weights (None: random ones)."""

    network: nn.Module
    name: str
    settings: Mapping[str, Any]
    notes: Sequence[str] | None

    @property
    def architecture(self) -> str:
        """The text that stands for what the network computes, beyond its weights."""
        return f"{type(self.network).__module__}.{self.name} {dict(self.settings)}"


def make_image_backbone(
    built: Built, groups: dict[str, list[str]], preprocess: Pixels, execution: Execution
) -> ImageBackbone:
    """Return the backbone around a network. Raises UserError for a key of its ``execution`` that is invalid."""
    return ImageBackbone(
        built.network,
        built.name,
        groups,
        preprocess,
        architecture=built.architecture,
        channels_last=resolve_channels_last(execution.channels_last, built.network),
        live_statistics=resolve_batch_norm(execution.batch_norm, built.notes is None),
        compile=execution.compile,
        notes=built.notes or (),
    )


def resolve_batch_norm(setting: str, random: bool) -> bool:
    """Return whether BatchNorm trains by batches: ``auto`` keeps the statistics that came with pretrained weights."""
    if setting not in ("auto", "live", "frozen"):
        raise make_choice_error("backbone.batch_norm", setting, ["auto", "live", "frozen"])
    return setting == "live" or (setting == "auto" and random)


def make_name_error(name: str, known: Sequence[str]) -> UserError:
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
