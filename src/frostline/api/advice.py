"""Advice, from Python and from the command line: a race under a deadline, its answer tested, its page."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from frostline.advice.candidates import Inquiry, make_inquiry
from frostline.advice.index import AdviceIndex, read
from frostline.advice.race import Race
from frostline.advice.sitting import AdviceSitting
from frostline.api.overrides import allowing_modules, as_path, make_overrides, write_command
from frostline.api.reports import Report
from frostline.api.results import RunResult
from frostline.config.schema import AdviceConfig, Run
from frostline.config.values import check_key, write_value
from frostline.errors import UserError
from frostline.launchers.base import make_launcher
from frostline.launchers.progress import Screen
from frostline.results.owner import own_folder

KEYS = tuple(one.name for one in fields(AdviceConfig) if one.name not in {root.name for root in fields(Run)})


@dataclass(frozen=True)
class AdviceResult:
    """An advice, by its ``folder``. ``allowed`` are the modules of one's own that its configs may name."""

    folder: Path
    allowed: tuple[str, ...] = ()

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The advice.json. Raises UserError where there is none that can be read."""
        content = read(self.folder)
        if content is None:
            raise UserError(f"{self.folder}: there is no advice that can be read; ask again.")
        return content

    @property
    def answer(self) -> Mapping[str, Any] | None:
        """What is best and what to expect of it: ``strategy``, ``rate``, ``expected``, ``test``, ``alike``, ``prices``.

        None where no candidate has a result.
        """
        return self.content["answer"]

    @property
    def trials(self) -> Sequence[Mapping[str, Any]]:
        """Each run of a candidate: ``strategy``, ``rate``, ``seed``, ``value``, ``seconds``, ``out`` and more.

        ``out`` is why it is no longer in the race.
        """
        return self.content["trials"]

    @property
    def run(self) -> RunResult | None:
        """The answer's run, which predicts and is exported like any; None where there is no answer."""
        answer = self.answer
        if answer is None:
            return None
        return RunResult(Path(os.path.normpath(self.folder / answer["path"])), self.allowed)

    @property
    def report(self) -> Report:
        """The page, which a notebook shows. Raises UserError where an advice was left before it was written."""
        path = self.folder / "advice.html"
        if not path.exists():
            raise UserError(f"{self.folder}: there is no page yet; ask again, and the advice goes on.")
        return Report(path)

    def _repr_html_(self) -> str | None:
        return self.report._repr_html_() if (self.folder / "advice.html").exists() else None

    def __repr__(self) -> str:
        return f"<advice {self.folder.name}: {self.answer['name'] if self.answer else 'no answer'}>"


def advise(
    *overrides: str,
    config_dir: str | os.PathLike[str] | None = None,
    allow: str | Sequence[str] = (),
    quiet: bool = False,
    **keywords: Any,
) -> AdviceResult:
    """Find out within a time what to freeze, as `frostline advise` does, and return the advice.

    Arguments are those of ``run``; besides, the keys of the node `advise` go without it:
    ``advise("data=digits", within="2m", candidates={"mine": {"last_k": {"k": 4}}, "full": None})``. ``candidates`` are
    added by name, replaced, or left out by None.

    Raises UserError for a mistake, and where the time is too short to read the network once. KeyboardInterrupt: the
    same call again goes on.
    """
    began = time.monotonic()
    given = make_overrides(
        overrides, {key: value for key, value in keywords.items() if key != "candidates"}, "advise", KEYS
    )
    for name, entry in keywords.get("candidates", {}).items():
        given.append(f"++advise.candidates.{check_key(name)}={write_value(entry, 'candidates')}")
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    with allowing_modules(allowed):
        inquiry = make_inquiry(given, as_path(config_dir))
        run_advice(inquiry, write_command("advise", given, config_dir, allowed), Screen(quiet), began)
    return AdviceResult(find_advice_folder(inquiry), allowed)


def find_advice_folder(inquiry: Inquiry) -> Path:
    """Return where an advice lies."""
    return Path(inquiry.config.outputs) / "advice" / inquiry.name


def plan_advice(inquiry: Inquiry, screen: Screen, began: float) -> tuple[Race, float]:
    """Return the race as it stands, with what is foretold of each candidate, and about the seconds of the reading.

    A worker looks at the data and the candidates; nothing is run, and nothing written.
    """
    with make_launcher([inquiry.config]) as workers, TemporaryDirectory() as nowhere:
        index = replace(AdviceIndex.open(find_advice_folder(inquiry), inquiry, ""), folder=Path(nowhere))
        sitting = AdviceSitting(inquiry, index, workers, screen, began)
        sitting.survey()
        return sitting.trials.read_race(), sitting.estimate_reading()


def run_advice(inquiry: Inquiry, command: str, screen: Screen, began: float) -> Mapping[str, Any] | None:
    """Do what is left of an advice that was asked for at ``began``, of `time.monotonic`, and write its page.

    Return its answer, if any.
    """
    from frostline.report import read_advice, write_advice_report

    with own_folder(find_advice_folder(inquiry)) as folder:
        index = AdviceIndex.open(folder, inquiry, command)
        screen.say(f"{len(inquiry.candidates)} candidates; the advice's folder is {folder}")
        try:
            with make_launcher([inquiry.config]) as workers:
                AdviceSitting(inquiry, index, workers, screen, began).answer()
        finally:
            index.set(seconds=index.earlier + time.monotonic() - began)
        write_advice_report(folder, read_advice(folder))
    return index.content["answer"]
