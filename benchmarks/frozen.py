"""The frozen network read at every depth, beside tuning it: accuracy and seconds on six sets, in docs/frozen.md.

    python benchmarks/frozen.py run OUTPUTS DATA [--sets fashion,digits] [OVERRIDE ...]
    python benchmarks/frozen.py time OUTPUTS DATA [--sets fashion,digits] [OVERRIDE ...]
    python benchmarks/frozen.py report OUTPUTS [--page]

DATA has images/fashion, text/debian_sections, speech/vowels and speech/languages. The first profiles each set, then
runs `frostline compare` for what is frozen and for what is tuned, three seeds each; the learning rate of what is
stepped is chosen on validation by a trial of another seed. It goes on where it was stopped. The second does one run of
each strategy with the rates that were chosen, each alone and from an empty cache, which gives the seconds: leave the
machine to it. The third prints the tables from whatever is there.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from frostline.comparison.cells import read_strategies
from frostline.report.read.comparison import read_comparison
from frostline.report.read.runs import RunSummary
from small_sets import SETS, make_parser

PAGE = Path(__file__).parents[1] / "docs" / "frozen.md"
INTRODUCTION = """\
# The frozen network, read at every depth

Made by `python benchmarks/frozen.py`; do not edit.

A linear probe reads a network at its end, where it has forgotten what its old task did not need. `head=taps` reads the
same frozen network at several depths, in the same single pass, and is solved in seconds:

    frostline run freeze=linear_probe head=taps data=imagefolder data.root=photos

Six small sets, three frozen networks (EfficientNet-Lite0 for images, MiniLM for texts, a speaker encoder for speech),
three seeds; mean test accuracy with the standard deviation over seeds, where it is not 0. What is frozen sees each
sample once, without augmentation. What trains has 10 epochs, of texts 4, images with `augment=light`, and the better of
the learning rates 0.0001 and 0.001, chosen on validation with another seed; `layer mix` of 0.001 and 0.01, or one step
beyond. Epochs are chosen on validation as always. The test split was looked at once for each run.
"""
NOTES = """
- `probe` is a solved head on the network's end; `best depth` one on the depth that `frostline profile` found best on
  validation; `joined` is `head=taps` (`head.taps=auto`: depths and penalty chosen on training and validation samples);
  `layer mix` a learnt weighting of all depths (`head=layer_mix`). `lp_ft(1)` trains the last group after the head
  (`freeze=lp_ft freeze.k=1`); `from joined` starts there from the solved joined head.
- Seconds are of one run alone, from an empty cache, on two cores.
- The rule of `head.taps=auto` was found on vowels, fashion and half the classes of debian_sections, and shown on the
  others (`benchmarks/choose_taps.py`). Test sets of 110 to 1,000 samples: differences of a point or two are chance.
"""


@dataclass(frozen=True)
class Row:
    """A strategy: what stands in the table, its entry of compare.strategies, and the comparison that it is part of."""

    title: str
    entry: dict[str, dict[str, Any]]
    part: str

    @property
    def label(self) -> str:
        """What a comparison calls the strategy."""
        return read_strategies([self.entry])[0].name

    @property
    def overrides(self) -> list[str]:
        """The same as overrides of a run."""
        ((freeze, options),) = self.entry.items()
        given = [f"{key}={spell(value)}" for key, value in options.items() if key != "k"]
        return [f"freeze={freeze}", *given, *([f"freeze.k={options['k']}"] if "k" in options else [])]


def list_rows(best: str) -> list[Row]:
    """Return all strategies; ``best`` is the depth that was best on validation."""
    head = {"head": "taps"}
    return [
        Row("probe", {"linear_probe": {}}, "frozen"),
        Row("best depth", {"linear_probe": {"head": "taps", "head.taps": [best]}}, "frozen"),
        Row("joined", {"linear_probe": head}, "frozen"),
        Row("layer mix", {"linear_probe": {"head": "layer_mix"}}, "mixed"),
        Row("last_k(1)", {"last_k": {"k": 1}}, "tuned"),
        Row("last_k(3)", {"last_k": {"k": 3}}, "tuned"),
        Row("lp_ft(1)", {"lp_ft": {"k": 1}}, "tuned"),
        Row("lp_ft(1) from joined", {"lp_ft": {"k": 1, **head}}, "tuned"),
        Row("lp_ft", {"lp_ft": {}}, "tuned"),
        Row("lp_ft from joined", {"lp_ft": head}, "tuned"),
        Row("full", {"full": {}}, "tuned"),
    ]


PARTS = {
    "frozen": ["augment=none"],
    "mixed": ["augment=none", "compare.lr_grid=[0.001,0.01]", "compare.lr_extend=true"],
    "tuned": ["compare.lr_grid=[0.0001,0.001]", "compare.lr_extend=false"],
}
"""What each comparison sets. What is frozen sees each sample once; what is tuned sees augmented images."""


def spell(value: object) -> str:
    """Return a value as Hydra's grammar has it."""
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def call(*words: str) -> str:
    """Run the program; return the last line that it prints."""
    print("frostline", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "frostline", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"frostline {' '.join(words)}: exit status {done.returncode}")
    return done.stdout.splitlines()[-1]


def run(outputs: Path, name: str, given: Sequence[str], seeds: int) -> None:
    """Profile a set and do its comparisons."""
    call("profile", *given, "augment=none", f"outputs={outputs}/{name}")
    rows = list_rows(read_best_depth(outputs / name))
    for part, overrides in PARTS.items():
        entries = json.dumps([row.entry for row in rows if row.part == part]).replace('"', "")
        fixed = ["launcher.workers=2", "compare.profile=false", f"outputs={outputs}/{name}", f"compare.name={part}"]
        fixed.append(f"compare.seeds={spell(list(range(seeds)))}")
        call("compare", *given, *overrides, f"compare.strategies={entries}", *fixed)


def read_runs(outputs: Path, name: str) -> dict[str, list[RunSummary]]:
    """Return each row's finished runs, by its title."""
    found: dict[str, list[RunSummary]] = {}
    titles = {row.label: row.title for row in list_rows(read_best_depth(outputs / name))}
    for part in PARTS:
        folder = outputs / name / "comparisons" / part
        if (folder / "comparison.json").is_file():
            for one in read_comparison([folder]).runs:
                if not one.trial and one.status == "done":
                    found.setdefault(titles[one.label], []).append(one)
    return found


def read_best_depth(outputs: Path) -> str:
    """Return the name of the depth that is best on validation, "" where there is no profile yet."""
    for path in outputs.glob("profiles/*/profile.json"):
        found = json.loads(path.read_text())
        return found["taps"][found["best"]]["name"]
    return ""


def time_runs(outputs: Path, name: str, given: Sequence[str]) -> None:
    """Do one run of each row from an empty cache, and keep its seconds in OUTPUTS/NAME/times.json."""
    found, path = read_runs(outputs, name), outputs / name / "times.json"
    times: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    for row in list_rows(read_best_depth(outputs / name)):
        if row.title in times or row.title not in found:
            continue
        augment = ["augment=none"] if "augment=none" in PARTS[row.part] else []
        with tempfile.TemporaryDirectory() as folder:
            rate = [] if found[row.title][0].lr is None else [f"optimizer.lr={found[row.title][0].lr}"]
            record = call("run", *given, *augment, *row.overrides, *rate, f"outputs={folder}", "seed=0")
            times[row.title] = json.loads(Path(record).read_text())["cost"]["seconds"]
        path.write_text(json.dumps(times, indent=1))


@dataclass(frozen=True)
class Found:
    """What is finished of a set: each row's runs, and its seconds alone."""

    runs: Mapping[str, Sequence[RunSummary]]
    seconds: Mapping[str, float]

    def average(self, title: str, split: str = "test") -> float:
        """Return a row's mean accuracy over seeds."""
        scores = [one.validation if split == "val" else one.scores for one in self.runs[title]]
        return fmean(one["accuracy"] for one in scores)

    def find_best_tuned(self, split: str) -> str:
        """Return the title of the tuned row with the highest accuracy on a split."""
        tuned = [row.title for row in list_rows("") if row.part == "tuned" and row.title in self.runs]
        return max(tuned, key=lambda title: self.average(title, split))


def list_lines(found: Mapping[str, Found]) -> list[str]:
    """Return the table of accuracies, the table of seconds, and what they say together."""
    titles, rule = [row.title for row in list_rows("")], "| --- |" + " --- |" * (len(found) + 1)
    lines = [f"| test accuracy | {' | '.join(found)} | mean |", rule]
    for title in titles:
        cells = [[run.scores["accuracy"] for run in one.runs.get(title, ())] for one in found.values()]
        mean = f"{fmean(map(fmean, cells)):.3f}" if all(cells) else ""
        lines.append(f"| {title} | {' | '.join(map(format_cell, cells))} | {mean} |")
    lines += ["", f"| seconds | {' | '.join(found)} | sum |", rule]
    for title in titles:
        each = [one.seconds.get(title) for one in found.values()]
        total = "" if None in each else f"{sum(one for one in each if one):.0f}"
        lines.append(f"| {title} | {' | '.join('' if one is None else f'{one:.1f}' for one in each)} | {total} |")
    return [*lines, "", *(f"- {line}" for line in summarise(list(found.values())))]


def summarise(found: Sequence[Found]) -> list[str]:
    """Return how far the joined head is from what is tuned, and how much cheaper."""
    whole = [one for one in found if "joined" in one.runs and "full" in one.runs]
    if not whole:
        return []
    joined, lines = [one.average("joined") for one in whole], []
    for split, words in (("val", "picked on validation"), ("test", "picked on test, an upper bound")):
        tuned = [one.average(one.find_best_tuned(split)) for one in whole]
        gap = 100 * (fmean(joined) - fmean(tuned))
        names = ", ".join(one.find_best_tuned(split) for one in whole)
        lines.append(f"joined less the best tuned strategy of each set ({words}: {names}): {gap:+.1f} points.")
    timed = [one for one in whole if "joined" in one.seconds and one.find_best_tuned("val") in one.seconds]
    if timed:
        seconds = [sum(one.seconds[title] for one in timed) for title in ("joined", "lp_ft", "full")]
        best = sum(one.seconds[one.find_best_tuned("val")] for one in timed)
        lines.append(
            f"Over {len(timed)} sets, joined took {seconds[0]:.0f} s, the best tuned {best / seconds[0]:.1f} times as "
            f"long, lp_ft {seconds[1] / seconds[0]:.1f} times, full {seconds[2] / seconds[0]:.1f} times."
        )
    return lines


def read_all(outputs: Path) -> dict[str, Found]:
    """Return what is finished of each set."""
    found = {}
    for name in SETS:
        path = outputs / name / "times.json"
        times = json.loads(path.read_text()) if path.is_file() else {}
        if runs := read_runs(outputs, name):
            found[name] = Found(runs, times)
    return found


def format_cell(scores: Sequence[float]) -> str:
    """Return a mean over seeds with its standard deviation; nothing where there is none."""
    spread = f" +- {stdev(scores):.3f}" if len(scores) > 1 and stdev(scores) else ""
    return f"{fmean(scores):.3f}{spread}" if scores else ""


def main() -> None:
    assert __doc__ is not None
    parser = make_parser(__doc__, ("run", "time", "report"), "frozen.md")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_intermixed_args()
    if arguments.what != "report":
        for name in arguments.sets:
            given = [*(one.format(data=arguments.data) for one in SETS[name]), *arguments.overrides]
            if arguments.what == "run":
                run(arguments.outputs, name, given, arguments.seeds)
            else:
                time_runs(arguments.outputs, name, given)
    tables = "\n".join(list_lines(read_all(arguments.outputs)))
    print(tables)
    if arguments.page:
        PAGE.write_text(f"{INTRODUCTION}\n{tables}\n{NOTES}")


if __name__ == "__main__":
    main()
