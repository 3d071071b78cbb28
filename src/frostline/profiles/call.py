"""What a command has a worker find out about a network's depths.

To import these functions is quick: what they need, torch above all, the worker that calls them imports.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})
Configs = Sequence[Mapping[str, Any]]
"""Resolved configs of runs, as plain containers; beside them objects may be ``given``, as `Builder` takes them."""


def measure(configs: Configs, threads: int, workers: int, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return the depth profile of what the only config describes: see `frostline.profiles.measure`."""
    import torch

    from frostline.profiles.measure import measure_profile

    assert workers == 1
    (config,) = configs
    torch.set_num_threads(config["launcher"].get("threads") or threads)
    return measure_profile(config, given)


def list_taps(configs: Configs, elsewhere: bool, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return the taps of the network that the only config describes: see `frostline.profiles.survey`."""
    from frostline.profiles.survey import survey_taps

    (config,) = configs
    return survey_taps(config, given)
