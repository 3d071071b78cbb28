"""Advice, from Python and from the command line: a race under a deadline, its answer tested, its page."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.advice.candidates import Inquiry
from frostline.advice.index import AdviceIndex
from frostline.advice.sitting import AdviceSitting
from frostline.launchers.base import make_launcher
from frostline.launchers.progress import Screen
from frostline.results.owner import own_folder


def find_advice_folder(inquiry: Inquiry) -> Path:
    """Return where an advice lies."""
    return Path(inquiry.config.outputs) / "advice" / inquiry.name


def run_advice(inquiry: Inquiry, command: str, screen: Screen, began: float) -> Mapping[str, Any] | None:
    """Do what is left of an advice that was asked for at ``began``, of `time.monotonic`; return its answer, if any."""
    with own_folder(find_advice_folder(inquiry)) as folder:
        index = AdviceIndex.open(folder, inquiry, command)
        screen.say(f"{len(inquiry.candidates)} candidates; the advice's folder is {folder}")
        try:
            with make_launcher([inquiry.config]) as workers:
                outcome = AdviceSitting(inquiry, index, workers, screen, began).answer()
        finally:
            index.set(seconds=index.earlier + time.monotonic() - began)
    return None if outcome is None else outcome.record
