"""Statistics over the runs of a comparison: pure functions on plain records, without torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

LOWER_IS_BETTER = frozenset({"loss", "calibration_error"})
REPORTED = ("accuracy", "balanced_accuracy", "f1")
STATUSES = ("failed", "diverged", "interrupted", "missing")
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Summary:
    """Values of one quantity over seeds; ``deviation`` is the sample's (ddof=1), None for a single value."""

    values: tuple[float, ...]
    mean: float
    deviation: float | None

    @property
    def n(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Failure:
    """A run without a result; ``status`` is one of STATUSES."""

    label: str
    seed: int
    status: str
    reason: str


@dataclass(frozen=True)
class Measurement:
    """What one finished run contributes: test scores by metric, parameter counts, seconds."""

    seed: int
    scores: Mapping[str, float]
    trainable_last: int
    trainable_most: int
    seconds: float
    seconds_saved: float


@dataclass(frozen=True)
class Row:
    """One strategy of a comparison: its finished runs in the order of their seeds, and those that failed."""

    label: str
    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...]

    @property
    def n(self) -> int:
        return len(self.measurements)

    def score(self, metric: str) -> Summary:
        return summarise([run.scores[metric] for run in self.measurements])

    def seconds(self) -> Summary:
        return summarise([run.seconds for run in self.measurements])

    def seconds_saved(self) -> Summary:
        return summarise([run.seconds_saved for run in self.measurements])

    def trainable(self) -> tuple[int, int]:
        """Return the trainable parameters of the last phase and of the phase with most (the largest over seeds)."""
        return max(run.trainable_last for run in self.measurements), max(
            run.trainable_most for run in self.measurements
        )


def summarise(values: Sequence[float]) -> Summary:
    """Return mean and sample standard deviation of at least one value."""
    assert values
    return Summary(tuple(values), fmean(values), stdev(values) if len(values) > 1 else None)


def pooled_deviation(first: Summary, second: Summary) -> float:
    """Return the standard deviation two samples share: variances weighted by their degrees of freedom.

    Both samples need two values or more.
    """
    assert first.deviation is not None and second.deviation is not None
    squares = (first.n - 1) * first.deviation**2 + (second.n - 1) * second.deviation**2
    return math.sqrt(squares / (first.n + second.n - 2))


def close(first: Summary, second: Summary) -> bool:
    """Tell whether two means lie within one pooled standard deviation of each other."""
    gap = abs(first.mean - second.mean)
    pooled = pooled_deviation(first, second)
    return gap <= pooled or math.isclose(gap, pooled, rel_tol=1e-9)


def main_metric(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the metric that the runs were selected on (``monitor``), accuracy where none says."""
    return next(
        (record["config"]["monitor"] for record in records if "monitor" in record.get("config", {})), "accuracy"
    )


def rows(runs: Sequence[Mapping[str, Any]], metric: str) -> list[Row]:
    """Return a row for each strategy, the best mean of ``metric`` first, those without a result last."""
    labels = dict.fromkeys(run["label"] for run in runs)
    found = [_row(label, [run for run in runs if run["label"] == label], metric) for label in labels]
    finished = [row for row in found if row.n]
    finished.sort(key=lambda row: row.score(metric).mean, reverse=metric not in LOWER_IS_BETTER)
    return finished + [row for row in found if not row.n]


def _row(label: str, runs: Sequence[Mapping[str, Any]], metric: str) -> Row:
    outcomes = [measure(run, metric) for run in sorted(runs, key=lambda run: run["seed"])]
    return Row(
        label,
        tuple(outcome for outcome in outcomes if isinstance(outcome, Measurement)),
        tuple(outcome for outcome in outcomes if isinstance(outcome, Failure)),
    )


def measure(run: Mapping[str, Any], metric: str) -> Measurement | Failure:
    """Return a run's numbers; a run that did not end, or whose record lacks one of them, is a failure, never a 0."""
    label, seed, record = run["label"], run["seed"], run["record"]
    if record is None:
        return Failure(label, seed, "missing", "the run left no record")
    if record["status"] != "done":
        status = record["status"] if record["status"] in STATUSES else "failed"
        return Failure(label, seed, status, str(record.get("reason") or "no reason was recorded"))
    try:
        scores = {name: number(record, "metrics", "test", name) for name in dict.fromkeys((metric, *REPORTED))}
        trainable = record["parameters"]["trainable"]
        seconds, saved = number(record, "cost", "seconds"), number(record, "cost", "seconds_saved")
    except ValueError as error:
        return Failure(label, seed, "failed", str(error))
    return Measurement(seed, scores, trainable[-1], max(trainable), seconds, saved)


def number(record: Mapping[str, Any], *path: str) -> float:
    """Return the number at ``path`` of a record; raises ValueError where it is missing or not finite."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"the record's {'.'.join(path)} is {value!r}, not a number")
    return float(value)


def verdict(found: Sequence[Row], metric: str) -> str:
    """Return what may be said: best mean, its spread, and who is as good within one pooled deviation.

    Strategies with fewer than three finished seeds are not ranked. ``found`` comes from ``rows``.
    """
    finished = [row for row in found if row.n]
    ranked = [row for row in finished if row.n >= FEWEST_SEEDS]
    if not finished:
        return "No run finished, so there is nothing to compare."
    if not ranked:
        return (
            f"Too few seeds to rank the strategies: each has fewer than {FEWEST_SEEDS} finished runs. "
            f"The best mean test {metric_name(metric)} so far is that of {_scored(finished[0], metric)}."
        )
    said = [_best(ranked, metric), *_left_out(finished)]
    return " ".join(said)


def _best(ranked: Sequence[Row], metric: str) -> str:
    best, others = ranked[0], ranked[1:]
    spread = best.score(metric).deviation
    head = (
        f"{best.label} has the best mean test {metric_name(metric)}, {best.score(metric).mean:.3f} "
        f"(standard deviation {spread:.3f}, n = {best.n})"
    )
    near = [_scored(row, metric) for row in others if close(best.score(metric), row.score(metric))]
    if not others:
        return f"{head}; no other strategy has seeds enough to stand beside it."
    if not near:
        return f"{head}; no other strategy comes within one pooled standard deviation of it."
    return f"{head}; within one pooled standard deviation of it: {', '.join(near)}."


def _left_out(finished: Sequence[Row]) -> list[str]:
    few = [f"{row.label} (n = {row.n})" for row in finished if row.n < FEWEST_SEEDS]
    return [f"Too few seeds to rank: {', '.join(few)}."] if few else []


def _scored(row: Row, metric: str) -> str:
    return f"{row.label} ({row.score(metric).mean:.3f}, n = {row.n})"


def metric_name(metric: str) -> str:
    """Return a metric's name as people say it."""
    return {"f1": "macro F1"}.get(metric, metric.replace("_", " "))


def data_warnings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence where runs that should share their data do not, by the fingerprints in their records.

    Examples drawn by seed (``data.num_per_class``, ``data.fraction``) may differ between seeds, not within one.
    """
    records = [(run["seed"], run["record"]) for run in runs if run["record"] and run["record"].get("data")]
    prints: dict[Any, set[str]] = {}
    for seed, record in records:
        prints.setdefault(seed if _drawn(record) else "any", set()).add(record["data"]["fingerprint"])
    mixed = {seed: found for seed, found in prints.items() if len(found) > 1}
    return [
        f"the runs {'' if seed == 'any' else f'of seed {seed} '}did not use the same data "
        f"({len(found)} fingerprints: {', '.join(sorted(name[:12] for name in found))}), so they are not comparable."
        for seed, found in mixed.items()
    ]


def _drawn(record: Mapping[str, Any]) -> bool:
    data = record.get("config", {}).get("data", {})
    return data.get("num_per_class") is not None or data.get("fraction") is not None
