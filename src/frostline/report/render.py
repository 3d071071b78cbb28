"""A comparison's report on disk: a sentence, a picture, a table, the failures, and how it was done."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.files import write_atomic
from frostline.report.compare import (
    REPORTED,
    STATUSES,
    Failure,
    Row,
    Summary,
    data_warnings,
    main_metric,
    metric_name,
    rows,
    verdict,
)
from frostline.report.picture import write_picture
from frostline.report.text import cell, markdown, plain

MOST_CLASSES = 20
Run = Mapping[str, Any]


def write_report(folder: Path, runs: Sequence[Run], command: str | None = None) -> Path:
    """Write report.md, report.csv and accuracy_cost.svg and .png into ``folder``; return report.md's path.

    Each run is ``{"label": strategy with its options, "seed": int, "record": record.json's content or None}``;
    ``command`` is what makes the comparison again.
    Nothing in a record is trusted: text is escaped, a run without its numbers counts as failed.
    """
    metric = main_metric(run["record"] for run in runs if run["record"])
    found = rows(runs, metric)
    finished = [row for row in found if row.n]
    if finished:
        write_picture(folder, finished, metric, metric_name(metric))
    write_atomic(folder / "report.csv", table_csv(found, metric))
    parts = [
        f"# {markdown(folder.name)}\n",
        f"**{markdown(verdict(found, metric))}**\n",
        *(f"> **Warning:** {markdown(warning)}\n" for warning in data_warnings(runs)),
        *(
            [f"![Test {metric_name(metric)} of each strategy against its cost](accuracy_cost.svg)\n"]
            if finished
            else []
        ),
        _table(found, metric),
        _failures(found),
        _method(runs, command),
    ]
    write_atomic(folder / "report.md", "\n".join(part for part in parts if part))
    return folder / "report.md"


def _table(found: Sequence[Row], metric: str) -> str:
    name = metric_name(metric)
    lines = [
        "## Results\n",
        f"| strategy | n | test {name}, mean | deviation | each seed | trainable parameters, last phase | most | "
        "seconds | saved by the cache | failed |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
        *(_line(row, metric) for row in found),
        "",
        "Mean and standard deviation (of the sample) are over seeds; seconds are means, process start left out.\n",
    ]
    return "\n".join(lines)


def _line(row: Row, metric: str) -> str:
    if not row.n:
        return f"| {markdown(row.label)} | 0 | - | - | - | - | - | - | - | {len(row.failures)} |"
    score, (last, most) = row.score(metric), row.trainable()
    cells = [
        markdown(row.label),
        row.n,
        f"{score.mean:.4f}",
        "-" if score.deviation is None else f"{score.deviation:.4f}",
        ", ".join(f"{value:.4f}" for value in score.values),
        f"{last:,}",
        f"{most:,}",
        f"{row.seconds().mean:.1f}",
        f"{row.seconds_saved().mean:.1f}",
        len(row.failures),
    ]
    return f"| {' | '.join(str(value) for value in cells)} |"


def _failures(found: Sequence[Row]) -> str:
    failures = [failure for row in found for failure in row.failures]
    if not failures:
        return ""
    counts = ", ".join(f"{count} {status}" for status, count in _count(failures).items())
    return "\n".join(
        [
            "## Runs without a result\n",
            f"{counts}. They are in no mean.\n",
            "| strategy | seed | status | reason |",
            "| --- | ---: | --- | --- |",
            *(
                f"| {markdown(one.label)} | {one.seed} | {markdown(one.status)} | {markdown(one.reason)} |"
                for one in failures
            ),
            "",
        ]
    )


def _count(failures: Sequence[Failure]) -> dict[str, int]:
    statuses = sorted(failure.status for failure in failures)
    return {markdown(status): statuses.count(status) for status in dict.fromkeys(statuses)}


def _method(runs: Sequence[Run], command: str | None) -> str:
    """Say how it was done; where runs differ, each value stands with the strategies that had it."""
    facts: list[tuple[str, Callable[[Run], str | None]]] = [
        ("Data", _data),
        ("Classes", _classes),
        ("Backbone", _backbone),
        ("Epochs", lambda record: _field(record, "epochs")),
        ("Versions", lambda record: _pairs(record, "versions")),
        ("Git", _git),
    ]
    lines = [f"- {name}: {said}" for name, read in facts if (said := _said(runs, read))]
    again = [f"\nTo make it again:\n\n    {plain(command)}"] if command else []
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))
    return "\n".join(["## How it was done\n", f"- Runs: {len(runs)}, seeds {seeds}", *lines, *again, ""])


def _said(runs: Sequence[Run], read: Callable[[Run], str | None]) -> str:
    """Return what finished runs say, each value once, with its strategies where these differ in it."""
    labels: dict[str, list[str]] = {}
    for run in runs:
        value = read(run["record"]) if run["record"] and run["record"]["status"] == "done" else None
        if value is not None:
            known = labels.setdefault(value, [])
            known += [run["label"]] if run["label"] not in known else []
    if len({frozenset(names) for names in labels.values()}) <= 1:
        return "; ".join(labels)
    return "; ".join(f"{value} ({', '.join(markdown(label) for label in names)})" for value, names in labels.items())


def _data(record: Run) -> str | None:
    if not record.get("data"):
        return None
    config, data = record.get("config", {}).get("data", {}), record["data"]
    counts = ", ".join(f"{markdown(split)} {count}" for split, count in data["counts"].items())
    where = "".join(f"{markdown(config[key])}, " for key in ("root", "manifest", "name") if config.get(key))
    return f"{where}{counts}, fingerprint {markdown(data['fingerprint'][:12])}"


def _classes(record: Run) -> str | None:
    if not record.get("data"):
        return None
    names = record["data"]["classes"]
    more = f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
    return f"{len(names)}: {', '.join(markdown(name) for name in names[:MOST_CLASSES])}{more}"


def _backbone(record: Run) -> str | None:
    if not record.get("backbone"):
        return None
    name, fingerprint = record["backbone"]["name"], record["backbone"]["fingerprint"]
    random = not record.get("plan", {}).get("pretrained", True)
    return f"{markdown(name)}, {'random weights' if random else f'weights {markdown(fingerprint[:12])}'}"


def _field(record: Run, key: str) -> str | None:
    return markdown(record[key]) if record.get(key) is not None else None


def _pairs(record: Run, key: str) -> str | None:
    found = record.get(key) or {}
    return ", ".join(f"{markdown(name)} {markdown(value)}" for name, value in found.items()) or None


def _git(record: Run) -> str | None:
    return _pairs(record, "git") if isinstance(record.get("git"), Mapping) else _field(record, "git")


def table_csv(found: Sequence[Row], metric: str) -> str:
    """Return report.csv: a line for each strategy; values of several seeds stand in one cell, apart by spaces."""
    content = io.StringIO(newline="")
    lines = [_csv_line(row, metric) for row in found]
    writer = csv.DictWriter(content, fieldnames=list(dict.fromkeys(key for line in lines for key in line)))
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in line.items()} for line in lines)
    return content.getvalue()


def _csv_line(row: Row, metric: str) -> dict[str, object]:
    statuses = [failure.status for failure in row.failures]
    line: dict[str, object] = {
        "strategy": row.label,
        "n": row.n,
        "seeds": _spaced(run.seed for run in row.measurements),
        **{status: statuses.count(status) for status in STATUSES},
        "reasons": "; ".join(f"seed {failure.seed}: {failure.reason}" for failure in row.failures),
    }
    for name in dict.fromkeys((metric, *REPORTED)) if row.n else ():
        line |= _spread(name, row.score(name))
    if row.n:
        last, most = row.trainable()
        line |= {"trainable_last_phase": last, "trainable_most": most}
        line |= _spread("seconds", row.seconds()) | _spread("seconds_saved", row.seconds_saved())
    return line


def _spread(name: str, summary: Summary) -> dict[str, object]:
    deviation = "" if summary.deviation is None else summary.deviation
    return {f"{name}_mean": summary.mean, f"{name}_deviation": deviation, f"{name}_values": _spaced(summary.values)}


def _spaced(values: object) -> str:
    return " ".join(str(value) for value in values)  # type: ignore[attr-defined]
