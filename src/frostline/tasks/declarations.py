"""What each task declares of itself, for all who must know it before torch is there: configs, reports, listings."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

Predictions = Literal["classes", "tags", "numbers", "rates"]
"""What predictions.csv says of a sample: its class, its classes, a number, or its errors in words and characters."""


@dataclass(frozen=True)
class Metric:
    """One score. ``title`` is its name in texts; ``low`` and ``high`` are the least and the largest value that it has.

    ``name`` is its name in configs, records and tables.
    """

    name: str
    title: str = ""
    lower_is_better: bool = False
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

    @property
    def sign(self) -> int:
        """What a value is multiplied by so that more is better."""
        return -1 if self.lower_is_better else 1

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value."""
        return self.low, self.high

    @property
    def difference_bounds(self) -> tuple[float, float]:
        """The least and the largest difference of two values."""
        return self.low - self.high, self.high - self.low

    def beats(self, new: float, old: float | None) -> bool:
        """Return whether ``new`` is better than ``old``; a number beats none and NaN, NaN never wins."""
        if math.isnan(new):
            return False
        return old is None or math.isnan(old) or self.sign * new > self.sign * old


@dataclass(frozen=True)
class Declaration:
    """A task's name and scores.

    The first of ``metrics`` is what a run is judged by unless ``monitor`` says otherwise. ``running`` names the one
    that is added up while training. ``predictions`` is None where predictions.csv has a form of its own, which a
    report cannot read.
    """

    name: str
    metrics: tuple[Metric, ...]
    running: str
    predictions: Predictions | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scores."""
        return tuple(metric.name for metric in self.metrics)

    def metric(self, name: str) -> Metric:
        """Return a score by its name; of one that is not declared nothing else is known."""
        return next((metric for metric in self.metrics if metric.name == name), Metric(name))

    def plain(self) -> dict[str, Any]:
        """Return plain containers for a record, in which None stands for no bound."""
        metrics = [
            {**asdict(one), "low": _write_bound(one.low), "high": _write_bound(one.high)} for one in self.metrics
        ]
        return {"name": self.name, "metrics": metrics, "running": self.running, "predictions": self.predictions}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Return the declaration that plain containers of the shape ``SHAPE`` hold."""
        metrics = tuple(Metric(**_bounded(one)) for one in plain["metrics"])
        known = plain["predictions"] if plain["predictions"] in get_args(Predictions) else None
        return cls(plain["name"], metrics, plain["running"], known)


SHAPE = {
    "name": str,
    "metrics": [{"name": str, "title": str, "lower_is_better": bool, "low": (float, None), "high": (float, None)}],
    "running": str,
    "predictions": (str, None),
}
"""The shape of a declaration in a record, as `frostline.files.shapes` checks it."""


def _write_bound(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def _bounded(plain: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: plain[name] for name in ("name", "title", "lower_is_better")}
    return known | {name: plain[name] for name in ("low", "high") if plain[name] is not None}


def share(name: str, title: str = "", lower_is_better: bool = False) -> Metric:
    """Return a score from 0 to 1."""
    return Metric(name, title, lower_is_better, low=0.0, high=1.0)


def make_error_metric(name: str, title: str = "") -> Metric:
    """Return a score of 0 or more, of which less is better."""
    return Metric(name, title, lower_is_better=True, low=0.0)


AUROC = share("auroc", "AUROC")
EXACT_MATCH = share("exact_match")
LOSS = make_error_metric("loss")

MULTICLASS = Declaration(
    "multiclass",
    (
        share("accuracy"),
        share("balanced_accuracy"),
        share("f1", "macro F1"),
        AUROC,
        share("calibration_error", lower_is_better=True),
        LOSS,
    ),
    running="accuracy",
    predictions="classes",
)
MULTILABEL = Declaration(
    "multilabel",
    (
        share("macro_f1", "macro F1"),
        share("micro_f1", "micro F1"),
        share("average_precision"),
        AUROC,
        EXACT_MATCH,
        LOSS,
    ),
    running="exact_match",
    predictions="tags",
)
REGRESSION = Declaration(
    "regression",
    (
        make_error_metric("rmse", "RMSE"),
        make_error_metric("mae", "mean absolute error"),
        Metric("r2", "R2", high=1.0),
        Metric("pearson", "Pearson correlation", low=-1.0, high=1.0),
        Metric("spearman", "Spearman correlation", low=-1.0, high=1.0),
        LOSS,
    ),
    running="mae",
    predictions="numbers",
)
CTC = Declaration(
    "ctc",
    (make_error_metric("cer", "character error rate"), make_error_metric("wer", "word error rate"), EXACT_MATCH, LOSS),
    running="exact_match",
    predictions="rates",
)
UNKNOWN = Declaration("", (Metric("score"),), "")
"""What stands for a task where no run has left a record that says its own."""
DECLARATIONS = {one.name: one for one in (MULTICLASS, MULTILABEL, REGRESSION, CTC)}
METRICS = {metric.name: metric for one in DECLARATIONS.values() for metric in one.metrics}
"""The scores of all of them: a name means the same in each."""


def find_declaration(target: str) -> Declaration | None:
    """Return what the task that a config's `_target_` names declares; None for one that is not Frostline's own."""
    module, _, name = target.rpartition(".")
    return DECLARATIONS.get(name.lower()) if module.startswith("frostline.tasks.") else None
