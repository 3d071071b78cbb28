"""What a command has a worker find out about a network's depths.

To import these functions is quick: what they need, torch above all, the worker that calls them imports.
"""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from frostline.config.secrets import make_mask
from frostline.errors import UserError

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


def try_measure(configs: Configs, threads: int, workers: int, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return what `measure` does, for a caller that goes on without it.

    Raises UserError for whatever comes in the way: a network or a data set of the user's own can raise anything.
    """
    hide = make_mask(configs[0])
    try:
        return measure(configs, threads, workers, given)
    except UserError as error:
        raise UserError(hide(str(error))) from error
    except Exception as error:
        logging.getLogger(__name__).exception("A network cannot be profiled.")
        raise UserError(hide(f"{type(error).__name__}: {error}")) from error


def list_taps(configs: Configs, elsewhere: bool, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return the taps of the network that the only config describes: see `frostline.profiles.survey`."""
    from frostline.profiles.survey import survey_taps

    (config,) = configs
    return survey_taps(config, given)
