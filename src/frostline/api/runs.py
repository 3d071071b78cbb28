"""One run, from Python."""

import os
from collections.abc import Sequence
from typing import Any

from frostline.api.overrides import allowing_modules, as_path, make_overrides
from frostline.api.results import RunResult
from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.launchers.base import Job, make_launcher
from frostline.launchers.progress import Screen, run_all


def run(
    *overrides: str,
    config_dir: str | os.PathLike[str] | None = None,
    allow: str | Sequence[str] = (),
    quiet: bool = False,
    **keywords: Any,
) -> RunResult:
    """Do one run in a worker process, as `frostline run` does, and return it; one that is done is not run again.

    ``overrides`` are those of the command line, ``keywords`` the same as Python has them:
    ``run("data=digits", freeze="last_k", seed=3, **{"freeze.k": 2})``. ``allow`` names modules of one's own that
    configs may name, ``config_dir`` a folder of config groups. ``quiet``: nothing is shown.

    Raises UserError for a mistake, also where only the worker finds it. A run that fails in another way is returned,
    and its ``status`` and ``reason`` say so. KeyboardInterrupt: the same call again goes on from the last checkpoint.
    """
    given = make_overrides(overrides, keywords)
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    with allowing_modules(allowed):
        config = resolve(compose("run", given, as_path(config_dir)))
        job = Job(config.label or "run", config)
        record = job.find_final_record()
        if record is None:
            with make_launcher([config]) as launcher:
                ends = run_all([job], launcher, Screen(quiet))
            record = ends[0][1].record if ends else None  # none of a launcher that does not wait
    if record is not None and record.get("user_error"):
        raise UserError(record["reason"])
    return RunResult(job.folder, allowed)
