"""A live table of many runs, or a line for each that ends where nobody watches."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from frostline.files.csv_tables import read_sheet
from frostline.launchers.base import Launcher, Task
from frostline.launchers.dispatch import Outcome

Ended = tuple[Task, Outcome, float]
STYLES = {"done": "green", "running": "cyan", "waiting": "dim"}
FRAME = 7
"""Lines of the terminal that no run has: the table's head, the counts below it."""
NUMBERS = 44
"""Columns of the terminal for numbers and the space between them."""


def run_all(
    tasks: Sequence[Task], launcher: Launcher, say: Callable[[Task, Outcome, float], None] | None = None
) -> list[Ended]:
    """Run every task, shown as they go on; return how each ended, in the order in which they did.

    A terminal shows one table of all runs, kept up to date from their folders; elsewhere each run that ends is a
    line. ``say`` is told of each end besides.
    """
    console, ended = Console(highlight=False), []
    view = View(tasks, launcher, console)
    watched = sys.stdout.isatty() and not console.is_dumb_terminal
    with Live(get_renderable=view.render, console=console, refresh_per_second=1) if watched else nullcontext():
        for task, outcome, seconds in launcher.run(tasks):
            view.end(task, outcome, seconds)
            ended.append((task, outcome, seconds))
            line = f"[{len(ended)}/{len(tasks)}] {describe(task, outcome, seconds)}"
            if not watched:
                print(line, flush=True)
            elif outcome.record["status"] != "done":
                console.print(line, markup=False)  # above the table, whose cell is too narrow for a reason
            if say is not None:
                say(task, outcome, seconds)
    return ended


def describe(task: Task, outcome: Outcome, seconds: float) -> str:
    """Return the line that says how a run ended."""
    record, metric = outcome.record, task.config.metric
    if record["status"] != "done":
        return f"{task.name}: {record['status']}: {record['reason']}, {seconds:.1f} s"
    split = "test" if "test" in record["metrics"] else "val"
    before, score = "" if outcome.fresh else " before", record["metrics"][split].get(metric)
    said = "is no number" if score is None else f"{score:.4f}"
    return f"{task.name}: done{before}, {split} {metric} {said}, {seconds:.1f} s"


def clock_time(seconds: float | None) -> str:
    """Return a time as m:ss or h:mm:ss, or nothing for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shortened(text: str, width: int) -> str:
    """Return a text in at most ``width`` characters; what is left out is in the middle: a name's ends tell most."""
    if len(text) <= width:
        return text
    return f"{text[: (width - 3) // 2]}...{text[len(text) - (width - 2) // 2 :]}"


@dataclass(eq=False)
class Row:
    """One run as it is watched: how far it is by its metrics.csv, and how it ended."""

    task: Task
    first: int | None = None
    epoch: int = 0
    value: float | None = None
    outcome: Outcome | None = None
    seconds: float = 0.0
    _read: int = 0

    def look(self) -> None:
        """Read how far the run is, where that has changed."""
        path = self.task.folder / "metrics.csv"
        changed = path.stat().st_mtime_ns if path.exists() else 0
        if changed and changed != self._read:
            self._read = changed
            with suppress(LookupError, ValueError):  # an earlier sitting's may be damaged; this one writes it anew
                last = list(read_sheet(path))[-1]
                self.epoch = int(last["epoch"]) + 1
                self.value = float(last[f"val/{self.task.config.metric}"])
        if self.first is None:
            self.first = self.epoch  # of an earlier sitting

    def left(self, elapsed: float) -> float | None:
        """Return the seconds to go at the pace of this sitting's epochs, or None before the first has ended."""
        done = self.epoch - (self.first or 0)
        return elapsed / done * (self.task.config.epochs - self.epoch) if done > 0 else None

    def cells(self, elapsed: float | None) -> list[Text]:
        """Return state, epoch, metric, time and time left; ``elapsed`` is None unless the run is on."""
        state, seconds = ("waiting" if elapsed is None else "running"), elapsed
        if self.outcome is not None:
            record, seconds = self.outcome.record, self.seconds
            state = record["status"] + (f": {record['reason']}" if record["status"] != "done" else "")
        epoch = f"{self.epoch}/{self.task.config.epochs}" if seconds is not None else ""
        value = "" if self.value is None else f"{self.value:.4f}"
        left = "" if elapsed is None else clock_time(self.left(elapsed))
        numbers = [Text(word) for word in (epoch, value, clock_time(seconds), left)]
        return [Text(state, STYLES.get(state, "red")), *numbers]


class View:
    """What is shown of many runs, at any moment."""

    def __init__(self, tasks: Sequence[Task], launcher: Launcher, console: Console):
        self.rows = {task: Row(task) for task in tasks}
        self.ended: list[Row] = []
        self.launcher, self.console = launcher, console
        self.began = time.monotonic()

    def end(self, task: Task, outcome: Outcome, seconds: float) -> None:
        """Take in how a run ended."""
        row = self.rows[task]
        row.look()
        row.outcome, row.seconds = outcome, seconds
        self.ended.append(row)

    def render(self) -> Group:
        """Return the table of the runs that fit, and a line of counts."""
        now = time.monotonic()
        on = {self.rows[task]: now - since for task, since in self.launcher.running if task in self.rows}
        for row in on:
            row.look()
        room = self.console.width - NUMBERS
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("run", no_wrap=True)
        table.add_column("state", max_width=room * 2 // 5, no_wrap=True)
        for name in ("epoch", "validation", "time", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.shown(list(on), self.console.height - FRAME):
            table.add_row(Text(shortened(row.task.name, room * 3 // 5)), *row.cells(on.get(row)))
        return Group(table, Text(self.counts(on, now - self.began)))

    def shown(self, on: Sequence[Row], room: int) -> list[Row]:
        """Return all rows, or if there is no room for them those of the runs that are on, and the latest that ended."""
        if len(self.rows) <= room:
            return list(self.rows.values())
        latest = [row for row in self.ended if row not in on][-max(room - len(on), 1) :]
        return [*latest, *on]

    def counts(self, on: dict[Row, float], elapsed: float) -> str:
        """Return how many runs are in which state, and the time so far and to come."""
        failed = sum(row.outcome is not None and row.outcome.record["status"] != "done" for row in self.ended)
        waiting = len(self.rows) - len(self.ended) - sum(row.outcome is None for row in on)
        words = [f"{len(self.ended)} of {len(self.rows)} ended" + (f" ({failed} without a result)" if failed else "")]
        words += [f"{len(on)} running", f"{waiting} waiting"]
        left = self.left(on, waiting)
        about = "" if left is None else f", about {clock_time(left)} left"
        return f"{', '.join(words)}; {clock_time(elapsed)} so far{about}"

    def left(self, on: dict[Row, float], waiting: int) -> float | None:
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
