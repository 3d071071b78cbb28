"""Every source x target of image, text and speech with its controls, run and written down in docs/modalities.md.

    python benchmarks/modalities.py DATA [--outputs DIR] [--only CELL ...] [OVERRIDE ...]
    python benchmarks/modalities.py --report [--outputs DIR]

The first runs `frostline compare experiment=CELL` for each cell, on the three sets in DATA (images/fashion,
text/debian_sections, speech/languages), and goes on where it was stopped; it ends as the second does, which writes the
page, and the line "Measured" in each recipe, from whatever is finished.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from textwrap import fill

from frostline.errors import UserError
from frostline.intervals import Interval
from frostline.report.read.comparison import Comparison, read_comparison
from frostline.report.read.predictions import read_all_answers
from frostline.report.read.runs import RunSummary, parse_shared
from frostline.report.statistics.bootstrap import bootstrap
from frostline.tasks.declarations import MULTICLASS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "modalities.md"
RECIPES = ROOT / "conf" / "experiment"
MODALITIES = ("image", "text", "speech")
CELLS = [f"{source}_to_{target}" for source in MODALITIES for target in MODALITIES]
SETS = {"image": "images/fashion", "text": "text/debian_sections", "speech": "speech/languages"}
NETWORKS = {"image": "efficientnet_lite0", "text": "minilm", "speech": "voice_encoder"}
MEASURED = re.compile(r"^# Measured: .*\n(?:#   .*\n)*", re.MULTILINE)
BLOCK = ()
VERDICTS = ("pretraining helps", "pretraining hurts", "no difference can be told")
INTRODUCTION = """\
A network that was pretrained on one modality learns another through an [adapter](adapters.md). In each cell stand the
strategy that was best on validation, with its mean test accuracy and the standard deviation over seeds, and below it
the best control, which starts from random weights (`random_features`, `scratch`, or `fpt` on random weights). The
frozen network is read at its end, and with `head=taps` at all its depths: pretrained and random alike, so that the
control has the same head. The interval at 95% is of the difference between the two, by a bootstrap over seeds and test
samples: where it holds 0, these runs do not show that pretraining helped; it is not corrected for choosing. Each cell
says which learning rates were tried, for each strategy on validation; heads over a frozen network are solved, and need
none. Each seed has training samples, random weights and an adapter of its own.

The recipes are small, for some minutes each on two cores: they draw some samples of each class and train for a few
epochs. They say what pretraining is worth where data is scarce, not what a network can reach. Where their samples or
adapters were chosen, that was on validation, with seeds that do not stand here (10 and above). Chance
is 0.10 for images, 0.11 for texts and 0.20 for speech; a logistic regression on pixels, TF-IDF and mean log-mel bands
reaches 0.804, 0.834 and 0.953, from all training samples. In speech/languages each language has one speaker: a good
score shows that the way works, not that a network knows languages.
"""


@dataclass(frozen=True)
class Strategy:
    """One strategy's finished runs in a cell."""

    label: str
    runs: Sequence[RunSummary]

    @property
    def control(self) -> bool:
        """Whether it starts from random weights."""
        return not parse_shared(self.runs[0].plan)["pretrained"]

    @property
    def scores(self) -> list[float]:
        return [run.scores["accuracy"] for run in self.runs]

    @property
    def validation(self) -> float:
        """What the best strategy is chosen by: the test scores are for the table."""
        return fmean(run.validation["accuracy"] for run in self.runs)

    @property
    def text(self) -> str:
        """The mean and spread of its test scores."""
        spread = f" +- {stdev(self.scores):.3f}" if len(self.scores) > 1 else ""
        return f"{fmean(self.scores):.3f}{spread}"


@dataclass(frozen=True)
class Cell:
    """What is known of one cell: its finished strategies, in the recipe's order."""

    name: str
    comparison: Comparison
    strategies: Sequence[Strategy]

    def best(self, control: bool) -> Strategy | None:
        """Return the strategy, or the control, that was best on validation."""
        found = [one for one in self.strategies if one.control == control]
        return max(found, key=lambda one: one.validation, default=None)

    @property
    def gain(self) -> Interval | None:
        """Return the 95% interval of what pretraining adds, None where one side is missing."""
        first, second = self.best(control=False), self.best(control=True)
        if first is None or second is None:
            return None
        found, why = read_all_answers([*first.runs, *second.runs], {BLOCK: ""}, MULTICLASS.metric("accuracy"))
        if why:
            raise UserError(f"{self.name}: {why}.")
        return bootstrap(found[first.label], found[second.label], "accuracy")

    @cached_property
    def verdict(self) -> str:
        """Say in words whether the pretraining helped."""
        gain = self.gain
        return "not finished" if gain is None else f"{judge(gain)} ({gain.low:+.3f} to {gain.high:+.3f})"


def judge(gain: Interval) -> str:
    """Return which of ``VERDICTS`` an interval of what pretraining adds leads to."""
    helps, hurts, unclear = VERDICTS
    return helps if gain.low > 0 else hurts if gain.high < 0 else unclear


def read(outputs: Path, name: str) -> Cell | None:
    """Return a cell as far as it is finished; None where nothing of it is."""
    try:
        comparison = read_comparison([outputs / "comparisons" / name])
    except UserError:
        return None
    runs = {label: [run for run in comparison.runs if run.label == label and run.done] for label in comparison.labels}
    strategies = [Strategy(label, done) for label, done in runs.items() if done]
    return Cell(name, comparison, strategies) if strategies else None


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def square(cells: dict[str, Cell]) -> str:
    """Return the 3 x 3 table: in each cell the best strategy, the best control, and whether pretraining helped."""
    rows = [["pretrained on", *(f"{target}: {SETS[target]}" for target in MODALITIES)]]
    for source in MODALITIES:
        found = [cells.get(f"{source}_to_{target}") for target in MODALITIES]
        rows.append([f"{source}: {NETWORKS[source]}", *(brief(cell) for cell in found)])
    return table(rows)


def brief(cell: Cell | None) -> str:
    """Return a cell of the square."""
    if cell is None:
        return "not run yet"
    first, second = cell.best(control=False), cell.best(control=True)
    parts = [f"{one.text} {one.label}" for one in (first, second) if one is not None]
    return "<br>".join([*parts, cell.verdict])


def section(cell: Cell) -> str:
    """Return all that is known of a cell."""
    rows = [["strategy", "weights", "test accuracy", "each seed", "learning rate", "trained", "seconds"]]
    for one in cell.strategies:
        first = one.runs[0]
        rates = sorted({run.lr for run in one.runs if run.lr is not None})
        rows.append(
            [
                one.label,
                "random" if one.control else "pretrained",
                one.text,
                ", ".join(f"{score:.3f}" for score in one.scores),
                ", ".join(f"{rate:g}" for rate in rates),
                trained(first),
                f"{fmean(run.costs['seconds'] for run in one.runs):.0f}",
            ]
        )
    missing = [label for label in cell.comparison.labels if label not in {one.label for one in cell.strategies}]
    gaps = f"\n\nNot finished: {', '.join(missing)}." if missing else ""
    command = f"    frostline compare experiment={cell.name}"
    grid = ", ".join(f"{rate:g}" for rate in cell.comparison.lr_grid)
    tried = f"Learning rates tried: {grid}." if grid else "No learning rates were tried."
    parts = [f"## {cell.name}", about(cell.name), command, table(rows), f"{tried} Result: {cell.verdict}.{gaps}"]
    return "\n\n".join(parts) + "\n"


def trained(run: RunSummary) -> str:
    """Return what a run's last phase trains, in words."""
    plan = parse_shared(run.plan)
    train = plan["phases"][-1]["train"]
    kinds = {name: train[name]["kind"] for name in (*plan["groups"], "head") if name in train}
    names = [name if kind == "all" else f"{name} ({kind})" for name, kind in kinds.items()]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-2]}, {names[-1]}"


def about(name: str) -> str:
    """Return what a recipe says of itself: its comment without command and measurements."""
    text = MEASURED.sub("", (RECIPES / f"{name}.yaml").read_text())
    lines = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    return " ".join(line for line in lines if not line.startswith(("@package", "frostline ")))


def summarise(cells: Iterable[Cell]) -> str:
    """Return in how many cells pretraining helps, in how many it hurts, and in how many neither can be told."""
    verdicts = [cell.verdict.partition(" (")[0] for cell in cells]
    return ", ".join(f"{verdict} in {verdicts.count(verdict)}" for verdict in VERDICTS).capitalize() + "."


def page(cells: dict[str, Cell]) -> str:
    """Return docs/modalities.md."""
    ended = f"Made by `python benchmarks/modalities.py`; do not edit. {len(cells)} of {len(CELLS)} cells have runs."
    sections = [section(cells[name]) for name in CELLS if name in cells]
    told = [INTRODUCTION, square(cells), "", summarise(cells.values()), ""]
    return "\n".join(["# From each modality to each", "", ended, "", *told, *sections])


def note(cell: Cell) -> None:
    """Write what was measured into the recipe, in place of what stood there."""
    path = RECIPES / f"{cell.name}.yaml"
    first, second = cell.best(control=False), cell.best(control=True)
    if first is None or second is None:
        return
    best, control = (f"{one.text} of {one.label}" for one in (first, second))
    said = f"Measured: test accuracy {best}, {control}, its best control; {cell.verdict}."
    line = fill(said, width=120, initial_indent="# ", subsequent_indent="#   ")
    path.write_text(MEASURED.sub(lambda _: f"{line}\n", path.read_text(), count=1))


def run(name: str, data: Path, outputs: Path, overrides: Sequence[str]) -> int:
    """Run one cell, or what is left of it."""
    root = data.resolve() / SETS[name.rpartition("_")[2]]
    words = ["compare", f"experiment={name}", f"data.root={root}", f"outputs={outputs}", *overrides]
    return subprocess.run([sys.executable, "-m", "frostline", *words]).returncode


def main() -> None:
    """Run what is asked for, then write what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="the folder of the three sets")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"))
    parser.add_argument("--only", nargs="+", choices=CELLS, default=CELLS, metavar="CELL")
    parser.add_argument("--report", action="store_true", help="run nothing")
    args = parser.parse_args()
    failed = []
    if not args.report:
        if args.data is None:
            parser.error("give the folder of the three sets, or --report")
        failed = [name for name in args.only if run(name, args.data, args.outputs, args.overrides)]
    cells = {name: cell for name in CELLS if (cell := read(args.outputs, name)) is not None}
    PAGE.write_text(page(cells))
    for cell in cells.values():
        note(cell)
    print(PAGE)
    if failed:
        sys.exit(f"did not end well: {', '.join(failed)}")


if __name__ == "__main__":
    main()
