"""Examine the data of a run: from its resolved config to what `frostline.data.examination` finds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from frostline.config.schema import Run
from frostline.config.secrets import make_mask, resolve_env
from frostline.data.examination.examine import describe_failure, examine
from frostline.data.examination.facts import Examination
from frostline.runs.build import Builder, check
from frostline.runs.survey import Survey


def examine_data(plain: Mapping[str, Any], builder: Builder, seconds: float) -> Examination:
    """Return what the data of a resolved config are like; of their contents as much is read as ``seconds`` allow.

    Where they cannot even be opened, that is what was found: nothing is raised. The network is built for what it says
    of its samples, and not run.
    """
    hide = make_mask(plain)
    try:
        config = Run.read(resolve_env(plain))
        check(config)
        backbone, _ = builder.make_network(config)
        task, data = builder.prepare_samples(config, backbone)
        found = examine(data, task, seconds, config.seed)
    except Exception as error:  # a network or a data set of the user's own can raise anything
        logging.getLogger(__name__).debug("The data cannot be examined.", exc_info=True)
        found = describe_failure(error)
    return mask_texts(found, hide)


def mask_texts(found: Any, hide: Callable[[str], str]) -> Any:
    """Return what was found with ``hide`` of every text in it, but for the names of classes and splits."""
    match found:
        case str():
            return hide(found)
        case Mapping():
            return {key: mask_texts(value, hide) for key, value in found.items()}
        case list() | tuple():
            return type(found)(mask_texts(value, hide) for value in found)
    return found


def examine_and_survey(
    configs: Sequence[Mapping[str, Any]], elsewhere: bool, given: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Return what the data of the first run are like, ``data``, and what `survey` says of all, ``runs``.

    Networks and data are made once for both.
    """
    here = Survey(elsewhere, given)
    return {"data": examine_data(configs[0], here.builder, seconds), "runs": here.describe_all(configs)}
