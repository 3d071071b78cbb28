"""How good advice is under several deadlines, beside the whole grid of its candidates, in docs/advise.md.

    python benchmarks/advise.py grid OUTPUTS DATA [--sets fashion,digits] [--seeds 1] [OVERRIDE ...]
    python benchmarks/advise.py ask OUTPUTS DATA [--sets fashion,digits] [--shares 0.05,0.2] [--seeds 1] [OVERRIDE ...]
    python benchmarks/advise.py report OUTPUTS [--page]

The first runs every candidate of `frostline advise` at every rate to its end and tests it: the truth, and what it
costs. The second asks for advice from an empty cache, with a deadline that is a share of that cost, and tests what it
says. The third prints, for each: the regret (the best test score of the grid less that of the answer), the share of the
grid's cost, whether the deadline was kept, and whether what was stated came true; beside it always the joined head,
always `lp_ft`, and a random search of the same cost. All of it goes on where it was stopped.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from frostline.advice.candidates import RATE
from frostline.config.compose import compose
from small_sets import SETS, make_parser

PAGE = Path(__file__).parents[1] / "docs" / "advise.md"
MARK = "<!-- made by benchmarks/advise.py -->"
MORE = {f"digits {count}": [*SETS["digits"], f"data.num_per_class={count}"] for count in (5, 20, 100)}
ALL = {**SETS, **MORE}
"""The sets of the other benchmarks, and digits with few samples."""
DRAWS = 200
"""Random searches that one of the same cost is the mean of."""


@dataclass(frozen=True)
class Row:
    """What became of a question: shares are between 0 and 1, times in seconds."""

    name: str
    seed: int
    within: float
    took: float
    strategy: str
    test: float
    low: float | None
    high: float | None
    level: float
    first: float


@dataclass(frozen=True)
class Tried:
    """A run of the grid."""

    strategy: str
    seed: int
    validation: float
    test: float
    seconds: float


def list_entries(given: Sequence[str]) -> list[str]:
    """Return every candidate at every rate as an entry of compare.strategies, in Hydra's grammar."""
    node = OmegaConf.to_container(compose("advise", list(given), None).advise, resolve=True)
    assert isinstance(node, dict)
    found: list[str] = []
    for entry in node["candidates"].values():
        ((name, options),) = entry.items()
        rates = [None] if name == "linear_probe" and options.get("head") != "layer_mix" else node["rates"]
        for rate in rates:
            chosen = options if rate is None else {**options, RATE: rate}
            found.append(json.dumps({name: chosen}).replace('"', ""))
    return found


def call(*words: str) -> str:
    """Run the program; return the last line that it prints."""
    print("frostline", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "frostline", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"frostline {' '.join(words)}: exit status {done.returncode}")
    return done.stdout.splitlines()[-1]


def run_grid(outputs: Path, name: str, given: Sequence[str], seeds: int) -> None:
    """Compare every candidate at every rate."""
    entries = ", ".join(list_entries(given))
    fixed = [f"outputs={outputs}/{name}", "compare.name=grid", "compare.profile=false"]
    call("compare", *given, f"compare.strategies=[{entries}]", f"compare.seeds={list(range(seeds))}", *fixed)


def read_grid(outputs: Path, name: str) -> list[Tried]:
    """Return the runs of the grid that have a result."""
    path = outputs / name / "comparisons" / "grid" / "comparison.json"
    if not path.is_file():
        return []
    found = []
    for row in json.loads(path.read_text())["runs"]:
        record = json.loads((path.parent / row["path"] / "record.json").read_text())
        if record["status"] == "done":
            scores, metric = record["metrics"], record["config"]["monitor"]
            found.append(
                Tried(
                    row["label"], row["seed"], scores["val"][metric], scores["test"][metric], record["cost"]["seconds"]
                )
            )
    return found


def ask(outputs: Path, name: str, given: Sequence[str], share: float, seed: int) -> None:
    """Ask for advice within a share of what the grid costs, and keep what it says in OUTPUTS/NAME/asked."""
    path = outputs / name / "asked" / f"{share:g}-{seed}.json"
    cost = sum(one.seconds for one in read_grid(outputs, name) if one.seed == 0)
    if path.is_file() or not cost:
        return
    within = share * cost
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        page = call("advise", *given, f"advise.within={within:.1f}", f"seed={seed}", f"outputs={folder}")
        took = time.monotonic() - began
        content = json.loads(Path(page).with_suffix(".json").read_text())
    answer = content["answer"]
    expected = answer["expected"] or {}
    first = next(row["value"] for row in content["trials"] if row["rate"] is None)
    row = Row(
        *(name, seed, within, took, answer["strategy"], answer["test"]),
        *(expected.get("low"), expected.get("high"), answer["level"], first),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(row), indent=1))


def search_randomly(grid: Sequence[Tried], within: float) -> float:
    """Return the mean test score of random searches that stop before they would take longer."""
    generator, found = random.Random(0), []
    for _ in range(DRAWS):
        left, tried = within, []
        for one in generator.sample(list(grid), len(grid)):
            if one.seconds > left:
                break
            left -= one.seconds
            tried.append(one)
        if tried:
            found.append(max(tried, key=lambda one: one.validation).test)
    return fmean(found) if found else 0.0


def list_lines(outputs: Path) -> list[str]:
    """Return the table of all questions, and what they say together."""
    lines = [
        "| set | deadline, s | of the grid | took, s | answer | test | regret | joined | lp_ft | random | stated |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    kept: list[bool] = []
    true: list[bool] = []
    regrets: dict[str, list[float]] = {"advice": [], "joined": [], "lp_ft": [], "random": []}
    for name in ALL:
        grid = read_grid(outputs, name)
        best = max((one.test for one in grid), default=0.0)
        for path in sorted((outputs / name / "asked").glob("*.json")):
            row = Row(**json.loads(path.read_text()))
            others = find_others(grid, row.within)
            scores = {"advice": row.test, **others}
            for key, value in scores.items():
                regrets[key].append(100 * (best - value))
            kept.append(row.took <= 1.05 * row.within)
            stated = "" if row.low is None else f"{row.low:.3f} to {row.high:.3f}"
            if row.low is not None and row.high is not None:
                true.append(row.low <= row.test <= row.high)
            total = sum(one.seconds for one in grid if one.seed == 0)
            cells = [name, f"{row.within:.0f}", f"{row.within / total:.2f}", f"{row.took:.0f}", row.strategy]
            cells += [f"{row.test:.3f}", f"{100 * (best - row.test):.1f}", *(f"{one:.3f}" for one in others.values())]
            lines.append(f"| {' | '.join([*cells, stated])} |")
    lines += ["", *summarise(regrets, kept, true)]
    return lines


def find_others(grid: Sequence[Tried], within: float) -> dict[str, float]:
    """Return what one gets by always taking the joined head, always ``lp_ft``, and by random search."""
    joined = fmean(one.test for one in grid if one.strategy.startswith("linear_probe(head=taps"))
    tuned = [one for one in grid if one.strategy.startswith("lp_ft(optimizer.lr")]
    return {
        "joined": joined,
        "lp_ft": max(tuned, key=lambda one: one.validation).test,
        "random": search_randomly(grid, within),
    }


def summarise(regrets: Mapping[str, Sequence[float]], kept: Sequence[bool], true: Sequence[bool]) -> list[str]:
    """Return what all questions say together."""
    if not kept:
        return []
    lines = [
        f"- Regret of {key}: {fmean(values):.2f} points on average, {max(values):.1f} at most."
        for key, values in regrets.items()
    ]
    lines.append(f"- Deadlines kept to 5%: {sum(kept)} of {len(kept)}.")
    lines.append(f"- Statements at 90% that came true: {sum(true)} of {len(true)}.")
    return lines


def main() -> None:
    assert __doc__ is not None
    parser = make_parser(__doc__, ("grid", "ask", "report"), "advise.md", ALL)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shares", type=lambda text: [*map(float, text.split(","))], default=[0.05, 0.2, 0.5])
    arguments = parser.parse_intermixed_args()
    for name in arguments.sets if arguments.what != "report" else ():
        given: list[Any] = [*(one.format(data=arguments.data) for one in ALL[name]), *arguments.overrides]
        if arguments.what == "grid":
            run_grid(arguments.outputs, name, given, arguments.seeds)
            continue
        for share in arguments.shares:
            for seed in range(arguments.seeds):
                ask(arguments.outputs, name, given, share, seed)
    table = "\n".join(list_lines(arguments.outputs))
    print(table)
    if arguments.page:
        before, _, _ = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{before}{MARK}\n\n{table}\n")


if __name__ == "__main__":
    main()
