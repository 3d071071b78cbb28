"""What comparisons and studies have workers find out and do before their runs.

To import these functions is quick: what they need, torch above all, the worker that calls them imports.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

LOOK_S = 2.0
"""For how long samples are decoded to see whether they are odd, where nobody says."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
Configs = Sequence[Mapping[str, Any]]
"""Resolved configs of runs, as plain containers; beside them objects may be ``given``, as `Builder` takes them."""


def survey(configs: Configs, elsewhere: bool, given: Mapping[str, Any] = NOTHING) -> list[dict[str, Any]]:
    """Return what is known of each run before it starts: see `frostline.runs.survey.survey`."""
    from frostline.runs import survey

    return survey.survey(configs, elsewhere, given)


def count_passes(configs: Configs, elsewhere: bool, given: Mapping[str, Any] = NOTHING) -> int:
    """Return how many passes over data the caches of these runs lack: see `frostline.runs.survey.count_passes`."""
    from frostline.runs import survey

    return survey.count_passes(configs, elsewhere, given)


def examine_and_survey(
    configs: Configs, elsewhere: bool, given: Mapping[str, Any] = NOTHING, seconds: float = LOOK_S
) -> dict[str, Any]:
    """Return what the data of the first run are like, and what is known of each run: see `frostline.runs.examine`.

    The data are read on this machine, wherever the runs will be.
    """
    from frostline.runs import examine

    return examine.examine_and_survey(configs, elsewhere, given, seconds)


def extract(configs: Configs, threads: int, workers: int, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Fill the caches of these runs beside other workers that do the same: see `frostline.runs.survey.extract`."""
    from frostline.runs import survey

    return survey.extract(configs, threads, workers, given)
