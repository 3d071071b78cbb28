"""A live table of many runs, or a line for each that ends where nobody watches."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from frostline.files.csv_tables import read_csv
from frostline.launchers.base import Job, Launcher
from frostline.launchers.dispatch import Outcome
from frostline.units import duration

End = tuple[Job, Outcome, float]
STYLES = {"done": "green", "running": "cyan", "waiting": "dim"}
FRAME = 7
"""Lines of the terminal that no run has: the table's head, the counts below it."""
NUMBERS = 50
"""Columns of the terminal for numbers and the space between them."""


class Screen:
    """Where a person sees how things go on: a terminal, a notebook, a file of lines, or nowhere (``quiet``)."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.console = Console(highlight=False)

    @property
    def live(self) -> bool:
        """Whether a table can be kept up to date here; rich needs ipywidgets for that in a notebook."""
        if self.quiet:
            return False
        if self.console.is_jupyter:
            return find_spec("ipywidgets") is not None
        return sys.stdout.isatty() and not self.console.is_dumb_terminal

    def say(self, text: str) -> None:
        """Show a line."""
        if not self.quiet:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Show a line on what is not as it should be."""
        if not self.quiet:
            print(f"frostline: {text}", file=sys.stderr, flush=True)


def run_all(
    jobs: Sequence[Job], launcher: Launcher, screen: Screen, tell: Callable[[Job, Outcome, float], None] | None = None
) -> list[End]:
    """Run every job, shown as they go on; return how each ended, in the order in which they did.

    A terminal and a notebook show one table of all runs, kept up to date from their folders; elsewhere each run that
    ends is a line. ``tell`` is told of each end besides.
    """
    ends: list[End] = []
    view, live, console = View(jobs, launcher, screen.console), screen.live, screen.console
    with Live(get_renderable=view.render, console=console, refresh_per_second=1) if live else nullcontext():
        for job, outcome, seconds in launcher.run(jobs):
            view.end(job, outcome, seconds)
            ends.append((job, outcome, seconds))
            line = f"[{len(ends)}/{len(jobs)}] {describe_end(job, outcome, seconds)}"
            if not live:
                screen.say(line)
            elif outcome.record["status"] != "done":
                console.print(line, markup=False)  # above the table, whose cell is too narrow for a reason
            if tell is not None:
                tell(job, outcome, seconds)
    return ends


def describe_end(job: Job, outcome: Outcome, seconds: float) -> str:
    """Return the line that says how a run ended."""
    record, metric = outcome.record, job.config.metric
    if record["status"] != "done":
        return f"{job.name}: {record['status']}: {record['reason']}, {duration(seconds)}"
    split = "test" if "test" in record["metrics"] else "val"
    before, score = "" if outcome.fresh else " before", record["metrics"][split].get(metric)
    said = "is no number" if score is None else f"{score:.4f}"
    return f"{job.name}: done{before}, {split} {metric} {said}, {duration(seconds)}"


def shorten(text: str, width: int) -> str:
    """Return a text in at most ``width`` characters; what is left out is in the middle: a name's ends tell most."""
    if len(text) <= width:
        return text
    return f"{text[: (width - 3) // 2]}...{text[len(text) - (width - 2) // 2 :]}"


@dataclass(eq=False)
class RunView:
    """One run as it is watched: how far it is by its metrics.csv, and how it ended."""

    job: Job
    first: int | None = None
    epoch: int = 0
    value: float | None = None
    outcome: Outcome | None = None
    seconds: float = 0.0
    _read: int = 0

    def look(self) -> None:
        """Read how far the run is, where that has changed."""
        path = self.job.folder / "metrics.csv"
        changed = path.stat().st_mtime_ns if path.exists() else 0
        if changed and changed != self._read:
            self._read = changed
            with suppress(LookupError, ValueError):  # an earlier sitting's may be damaged; this one writes it anew
                last = list(read_csv(path))[-1]
                self.epoch = int(last["epoch"]) + 1
                self.value = float(last[f"val/{self.job.config.metric}"])
        if self.first is None:
            self.first = self.epoch  # of an earlier sitting

    def end(self, outcome: Outcome, seconds: float) -> None:
        """Take in how the run ended, and how far it came."""
        self.look()
        self.outcome, self.seconds = outcome, seconds

    def left(self, elapsed: float) -> float | None:
        """Return the seconds to go at the pace of this sitting's epochs, or None before the first has ended."""
        done = self.epoch - (self.first or 0)
        return elapsed / done * (self.job.config.epochs - self.epoch) if done > 0 else None

    def cells(self, elapsed: float | None) -> list[Text]:
        """Return state, epoch, metric, time and time left; ``elapsed`` is None unless the run is on."""
        state, seconds = ("waiting" if elapsed is None else "running"), elapsed
        if self.outcome is not None:
            record, seconds = self.outcome.record, self.seconds
            state = record["status"] + (f": {record['reason']}" if record["status"] != "done" else "")
        epoch = f"{self.epoch}/{self.job.config.epochs}" if seconds is not None else ""
        value = "" if self.value is None else f"{self.value:.4f}"
        left = None if elapsed is None else self.left(elapsed)
        times = ["" if time is None else duration(time, 0) for time in (seconds, left)]
        numbers = [Text(word) for word in (epoch, value, *times)]
        return [Text(state, STYLES.get(state, "red")), *numbers]


class View:
    """What is shown of many runs, at any moment."""

    def __init__(self, jobs: Sequence[Job], launcher: Launcher, console: Console):
        self.rows = {job: RunView(job) for job in jobs}
        self.ended: list[RunView] = []
        self.launcher, self.console = launcher, console
        self.began = time.monotonic()

    def end(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """Take in how a run ended."""
        row = self.rows[job]
        row.end(outcome, seconds)
        self.ended.append(row)

    def render(self) -> Group:
        """Return the table of the runs that fit, and a line of counts."""
        now = time.monotonic()
        on = {self.rows[job]: now - since for job, since in self.launcher.running if job in self.rows}
        for row in on:
            row.look()
        room = self.console.width - NUMBERS
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("run", no_wrap=True)
        table.add_column("state", max_width=room * 2 // 5, no_wrap=True)
        for name in ("epoch", "validation", "time", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.shown(list(on), self.console.height - FRAME):
            table.add_row(Text(shorten(row.job.name, room * 3 // 5)), *row.cells(on.get(row)))
        return Group(table, Text(self.counts(on, now - self.began)))

    def shown(self, on: Sequence[RunView], room: int) -> list[RunView]:
        """Return all rows, or if there is no room for them those of the runs that are on, and the latest that ended."""
        if len(self.rows) <= room:
            return list(self.rows.values())
        latest = [row for row in self.ended if row not in on][-max(room - len(on), 1) :]
        return [*latest, *on]

    def counts(self, on: dict[RunView, float], elapsed: float) -> str:
        """Return how many runs are in which state, and the time so far and to come."""
        failed = sum(row.outcome is not None and row.outcome.record["status"] != "done" for row in self.ended)
        waiting = len(self.rows) - len(self.ended) - sum(row.outcome is None for row in on)
        words = [f"{len(self.ended)} of {len(self.rows)} ended" + (f" ({failed} without a result)" if failed else "")]
        words += [f"{len(on)} running", f"{waiting} waiting"]
        left = self.left(on, waiting)
        about = "" if left is None else f", about {duration(left, 0)} left"
        return f"{', '.join(words)}; {duration(elapsed, 0)} so far{about}"

    def left(self, on: dict[RunView, float], waiting: int) -> float | None:
        """Return the seconds to go by what the runs took that have ended, or None where there is nothing to say."""
        took = [row.seconds for row in self.ended if row.outcome is not None and row.outcome.fresh]
        if not took or not (on or waiting):
            return None
        mean = sum(took) / len(took)
        rest = [row.left(elapsed) for row, elapsed in on.items()]
        going = [
            max(mean - elapsed, 0.0) if left is None else left for left, elapsed in zip(rest, on.values(), strict=True)
        ]
        return (sum(going) + waiting * mean) / max(len(on), 1)
