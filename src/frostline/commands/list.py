"""`frostline list`: the runs of an output folder, one a line."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from frostline.commands.list_advice import list_advice
from frostline.errors import UserError, escape_unprintable
from frostline.files.shapes import check_shape
from frostline.results.loading import STATUSES as RECORDED
from frostline.results.loading import read_declaration
from frostline.results.store import list_records
from frostline.units import format_count, format_interval

STATUSES = (*RECORDED, "unfinished", "damaged")
WIDEST = 40
COMPONENT = {"_target_": str}
CONFIG = {
    "monitor": (str, None),
    "seed": int,
    "data": COMPONENT,
    "backbone": COMPONENT,
    "freeze": COMPONENT,
}
NUMBERS = {"metrics": {"test?": {str: (float, None)}}, "cost": {"seconds": (float, None)}}


class RunRow(NamedTuple):
    """One run; what its record does not say is None. ``score`` is of ``metric``, on the test split."""

    id: str
    written: float
    status: str
    data: str | None = None
    backbone: str | None = None
    freeze: str | None = None
    seed: int | None = None
    metric: str | None = None
    score: float | None = None
    lower_is_better: bool | None = None
    seconds: float | None = None
    reason: str | None = None


ORDERS: dict[str, Callable[[RunRow], Any]] = {
    "score": lambda row: (row.score is None, row.metric or "", _loss(row)),
    "seconds": lambda row: row.seconds if row.seconds is not None else float("inf"),
    "id": lambda row: row.id,
}


def _loss(row: RunRow) -> float:
    """Return a number that is smaller for a better score."""
    return (row.score or 0.0) * (1 if row.lower_is_better else -1)


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser("frostline list", description="The runs of an output folder, one a line.")
    flag = parser.add_argument
    flag("outputs", nargs="?", type=Path, default=Path("outputs"), help="the output folder (default: outputs)")
    flag("--status", choices=STATUSES, help="only these; unfinished: no record yet; damaged: it cannot be read")
    flag("--last", type=int, metavar="N", help="only the N newest")
    flag(
        "--sort",
        choices=ORDERS,
        help="not by time; score: the best first, those of one metric together; seconds: the fewest first",
    )
    flag("--advice", action="store_true", help="the answers of frostline advise, not the runs")
    flag("--json", action="store_true", help="a JSON object a line")
    flag("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    if args.last is not None and args.last < 1:
        raise UserError(f"--last: {args.last} is invalid: expected a whole number of 1 or more.")
    if args.advice:
        return show_advice(args)
    found = list(islice(list_rows(args.outputs, args.status), args.last))
    if args.sort:
        found.sort(key=ORDERS[args.sort])
    if args.json:
        sys.stdout.writelines(f"{json.dumps(row._asdict())}\n" for row in found)
    else:
        show(found, args.outputs)
    return 0


def show_advice(args: argparse.Namespace) -> int:
    """Print the advice of an output folder; return the exit code. Raises UserError for what only runs have."""
    if args.status or args.sort:
        raise UserError("--advice: advice has no status and no order but by time; leave --status and --sort out.")
    if not args.outputs.is_dir():
        raise UserError(f"{args.outputs}: there is no such folder; give the output folder, such as outputs.")
    found = list(islice(list_advice(args.outputs), args.last))
    if args.json:
        sys.stdout.writelines(f"{json.dumps(row._asdict())}\n" for row in found)
        return 0
    titles = ("advice", "written", "answer", "test score", "expected", "as good", "seconds")
    rows = []
    for row in found:
        expected = "-" if row.low is None or row.high is None else format_interval(row.low, row.high)
        score = "-" if row.test is None else f"{row.test:.4f} {row.metric}"
        seconds = "-" if row.seconds is None else f"{row.seconds:.0f}"
        words = (row.name, format_time(row.written), row.answer, score, expected, row.alike, seconds)
        rows.append(tuple(_cell(word) for word in words))
    print_columns([titles, *rows])
    print(f"{len(found)} in {escape_unprintable(str(args.outputs / 'advice'))}")
    return 0


def list_rows(outputs: Path, status: str | None) -> Iterable[RunRow]:
    """Yield the runs of an output folder, the newest first. Raises UserError where there is no such folder."""
    if not outputs.is_dir():
        raise UserError(f"{outputs}: there is no such folder; give the output folder, such as outputs.")
    if not (outputs / "runs").is_dir():
        return
    for name, written, record in list_records(outputs):
        row = summarise_run(name, written, record)
        if status in (None, row.status):
            yield row


def summarise_run(name: str, written: float, record: Any) -> RunRow:
    """Return the row of one run; a record whose config is not as configs are is a damaged one."""
    if record is None:
        return RunRow(name, written, "unfinished")
    if isinstance(record, Exception):
        return RunRow(name, written, "damaged", reason=str(record))
    try:
        config = record["config"]
        check_shape(config, CONFIG, "config")
        check_shape(record, NUMBERS, "")
        metric = config["monitor"]
        return RunRow(
            name,
            written,
            record["status"],
            _name_node(config["data"]),
            config["backbone"].get("name") or _name_node(config["backbone"]),
            _name_node(config["freeze"]),
            config["seed"],
            metric,
            record["metrics"].get("test", {}).get(metric),
            read_declaration(record).metric(metric).lower_is_better if metric else None,
            record["cost"]["seconds"],
            record.get("reason"),
        )
    except ValueError as error:
        return RunRow(name, written, "damaged", reason=str(error))


def _name_node(node: Mapping[str, Any]) -> str:
    """Return a config node's class or function, with the options that tell it from others of its kind."""
    target = node["_target_"].rpartition(".")[2]
    told = [
        f"{key}={node[key]}" for key in ("k", "train", "name", "root", "num_per_class") if node.get(key) is not None
    ]
    return f"{target}({', '.join(told)})" if told else target


def show(found: Sequence[RunRow], outputs: Path) -> None:
    """Print the rows in columns."""
    table = [
        ("id", "written", "status", "data", "backbone", "freeze", "seed", "test score", "seconds"),
        *map(_cells, found),
    ]
    print_columns(table)
    print(f"{format_count(len(found), 'run')} in {escape_unprintable(str(outputs / 'runs'))}")


def print_columns(table: Sequence[Sequence[str]]) -> None:
    """Print rows of texts, each column as wide as its widest."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())


def _cells(row: RunRow) -> tuple[str, ...]:
    """Return the row as text that is safe in a terminal."""
    score = "-" if row.score is None else f"{row.score:.4f} {row.metric}"
    seconds = "-" if row.seconds is None else f"{row.seconds:.1f}"
    written = format_time(row.written)
    words = row.id, written, row.status, row.data, row.backbone, row.freeze, row.seed, score, seconds
    return tuple(_cell(word) for word in words)


def format_time(seconds: float) -> str:
    """Return a file's time for a person."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # a file's time may be of a year that no calendar has
        return "-"


def _cell(word: object) -> str:
    text = escape_unprintable("-" if word is None else str(word))
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
