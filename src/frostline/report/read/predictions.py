"""What runs answered on the test split, read from their predictions.csv as their task has written it."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from frostline.files.atomic import NAMES
from frostline.files.csv_tables import read_csv
from frostline.report.read.answers import Answered, Answers, Classes, Numbers, Rates, Tags
from frostline.report.read.runs import Block, RunKey, RunSummary, look_up, parse_shared
from frostline.tasks.declarations import Metric, Predictions

MOST_ANSWERS = 2_000_000  # test labels of all runs together: what the bootstrap takes a minute for
AnswerTable = Sequence[Mapping[str, str]]


def read_all_answers(
    runs: Sequence[RunSummary], keys: Mapping[Block, str], metric: Metric
) -> tuple[dict[str, Answered], str]:
    """Return what finished runs answered on the test split, by label and (block, seed); or none, and why.

    ``keys`` names the blocks. Within one, all runs must have been tested on the same samples in the same order, whose
    names and labels are hashed. A metric that needs more than answers has none.
    """
    found: dict[str, dict[RunKey, Answers]] = {}
    tested: dict[str, str] = {}
    for run in runs:
        form = FORMS.get(run.declaration.predictions)
        if form is None or metric.name not in form.answers.metrics:
            return {}, f"{metric.title} does not follow from labels and predictions alone"
        read = _read(run, form)
        if read is None:
            return {}, f"{run.label}, seed {run.seed}, left no predictions that can be read"
        samples, one = read
        if tested.setdefault(keys[run.block], samples) != samples:
            return {}, f"{run.label}, seed {run.seed}, was tested on other samples than the runs before it"
        found.setdefault(run.label, {})[keys[run.block], run.seed] = one
        if one.labels.size * len(runs) > MOST_ANSWERS:
            return {}, f"there are more than {MOST_ANSWERS:,} test predictions"
    return dict(found), ""


def read_answers(run: RunSummary) -> Answers | None:
    """Return what one run answered, None where that cannot be read."""
    form = FORMS.get(run.declaration.predictions)
    found = _read(run, form) if form else None
    return found and found[1]


def _read(run: RunSummary, form: "Form") -> tuple[str, Answers] | None:
    """Return a hash of the test samples' names and labels, and the answers; None where they cannot be read."""
    names, table = hashlib.sha256(), list[dict[str, str]]()
    try:
        for row in read_csv(run.folder / "predictions.csv", form.columns):
            names.update(f"{row['sample']}\0{row['label']}\0".encode("utf-8", NAMES))
            table.append(row)
        return (names.hexdigest(), form.read(run, table)) if table else None
    except (KeyError, ValueError):
        return None


def _classes(run: RunSummary) -> dict[str, int]:
    """Return the place of each class."""
    names = look_up(parse_shared(run.data), "classes")
    return {str(name): place for place, name in enumerate(names)} if isinstance(names, list) else {}


def _read_classes(run: RunSummary, table: AnswerTable) -> Classes:
    places = _classes(run)
    pairs = np.asarray([(places[row["label"]], places[row["prediction"]]) for row in table], dtype=np.int32)
    return Classes(pairs[:, 0].copy(), pairs[:, 1].copy(), len(places))


def _read_tags(run: RunSummary, table: AnswerTable) -> Tags:
    places, separator = _classes(run), str(look_up(parse_shared(run.config), "task", "separator"))

    def mark_classes(texts: Iterable[str]) -> np.ndarray:
        found_NC = np.zeros((len(table), len(places)), dtype=bool)
        for row, text in enumerate(texts):
            found_NC[row, [places[name] for name in text.split(separator) if name]] = True
        return found_NC

    return Tags(mark_classes(row["label"] for row in table), mark_classes(row["prediction"] for row in table))


def _read_numbers(run: RunSummary, table: AnswerTable) -> Numbers:
    pairs = np.asarray([(float(row["label"]), float(row["prediction"])) for row in table])
    return Numbers(pairs[:, 0].copy(), pairs[:, 1].copy())


def _read_rates(run: RunSummary, table: AnswerTable) -> Rates:
    columns = {"wer": ("word_errors", "words"), "cer": ("character_errors", "characters")}
    counts = {
        metric: np.asarray([[float(row[name]) for name in names] for row in table]) for metric, names in columns.items()
    }
    return Rates(np.asarray([row["label"] for row in table]), counts)


class Form(NamedTuple):
    """One form of predictions.csv: what its answers are, how they are read, and how many columns that takes."""

    answers: type[Answers]
    read: Callable[[RunSummary, AnswerTable], Any]
    columns: int


FORMS: dict[Predictions | None, Form] = {
    "classes": Form(Classes, _read_classes, 3),
    "tags": Form(Tags, _read_tags, 3),
    "numbers": Form(Numbers, _read_numbers, 3),
    "rates": Form(Rates, _read_rates, 7),
}
