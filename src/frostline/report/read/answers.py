"""What runs answered on the test split, and the scores that follow from answers alone, for any weights of samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from scipy import sparse

from frostline.report.read.runs import RunKey


class Answers(Protocol):
    """One run's answers on N test samples; ``metrics`` names what can be had of them."""

    metrics: ClassVar[tuple[str, ...]]

    @property
    def labels(self) -> np.ndarray: ...

    def score(self, weights_RN: np.ndarray, metric: str) -> np.ndarray:
        """Return the metric of test samples that count ``weights`` times, for each row of them [R].

        The definitions are those of ``frostline.tasks``.
        """
        ...


Answered = Mapping[RunKey, Answers]


@dataclass(frozen=True)
class Classes:
    """One class for each sample: ``labels`` and ``predictions`` are classes as integers [N]."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "f1")

    labels: np.ndarray
    predictions: np.ndarray
    classes: int

    def score(self, weights_RN: np.ndarray, metric: str) -> np.ndarray:
        """Balanced accuracy averages over classes with samples, F1 over those with samples or predictions."""
        right_N = self.labels == self.predictions
        if metric == "accuracy":
            return weights_RN @ right_N / weights_RN.sum(axis=1)
        right_RC = _sum_by_class(weights_RN, self.labels, self.classes, right_N)
        real_RC = _sum_by_class(weights_RN, self.labels, self.classes)
        if metric == "balanced_accuracy":
            return _mean_ratio(right_RC, real_RC)
        assert metric == "f1", metric
        return _mean_ratio(2 * right_RC, real_RC + _sum_by_class(weights_RN, self.predictions, self.classes))


@dataclass(frozen=True)
class Tags:
    """Any number of classes for each sample: ``labels`` and ``predictions`` are [N, C] of 0 and 1."""

    metrics: ClassVar[tuple[str, ...]] = ("macro_f1", "micro_f1", "exact_match")

    labels: np.ndarray
    predictions: np.ndarray

    def score(self, weights_RN: np.ndarray, metric: str) -> np.ndarray:
        """Both kinds of F1 are 1 where no class has a sample or prediction."""
        if metric == "exact_match":
            return weights_RN @ (self.labels == self.predictions).all(axis=1) / weights_RN.sum(axis=1)
        hit_RC = weights_RN @ (self.labels & self.predictions).astype(float)
        both_RC = weights_RN @ (self.labels.astype(float) + self.predictions)
        if metric == "micro_f1":
            hit_RC, both_RC = hit_RC.sum(axis=1, keepdims=True), both_RC.sum(axis=1, keepdims=True)
        else:
            assert metric == "macro_f1", metric
        return np.where(both_RC.any(axis=1), _mean_ratio(2 * hit_RC, both_RC), 1.0)


@dataclass(frozen=True)
class Numbers:
    """A number for each sample: ``labels`` and ``predictions`` are [N]."""

    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2", "pearson")

    labels: np.ndarray
    predictions: np.ndarray

    def score(self, weights_RN: np.ndarray, metric: str) -> np.ndarray:
        """Not finite where the drawn samples all have one label, or prediction, and the metric asks how they vary."""
        shares_RN = weights_RN / weights_RN.sum(axis=1, keepdims=True)
        errors_N = self.predictions - self.labels
        if metric == "mae":
            return shares_RN @ np.abs(errors_N)
        squared_R = shares_RN @ errors_N**2
        if metric == "rmse":
            return np.sqrt(squared_R)
        real_R, said_R = _variance(shares_RN, self.labels), _variance(shares_RN, self.predictions)
        with np.errstate(divide="ignore", invalid="ignore"):
            if metric == "r2":
                return 1 - squared_R / real_R
            assert metric == "pearson", metric
            bias_R = shares_RN @ errors_N
            return (real_R + said_R - (squared_R - bias_R**2)) / 2 / np.sqrt(real_R * said_R)


@dataclass(frozen=True)
class Rates:
    """Errors among the parts of each sample, such as words: ``labels`` [N] stand for what was to be said.

    ``counts`` has for each metric errors and parts [N, 2]; it is the errors of all samples over the parts of all.
    """

    metrics: ClassVar[tuple[str, ...]] = ("wer", "cer")

    labels: np.ndarray
    counts: Mapping[str, np.ndarray]

    def score(self, weights_RN: np.ndarray, metric: str) -> np.ndarray:
        """NaN where the drawn samples have no parts."""
        errors_R, parts_R = (weights_RN @ self.counts[metric]).T
        with np.errstate(divide="ignore", invalid="ignore"):
            return errors_R / parts_R


def _variance(shares_RN: np.ndarray, values_N: np.ndarray) -> np.ndarray:
    """Return the variance of values under each row of shares, which add up to 1."""
    centred_N = values_N - values_N[0]  # values that are all the same leave nothing, not even what rounding does
    centred_N = centred_N - centred_N.mean()
    return shares_RN @ centred_N**2 - (shares_RN @ centred_N) ** 2


def _sum_by_class(
    weights_RN: np.ndarray, classes_N: np.ndarray, classes: int, counted_N: np.ndarray | None = None
) -> np.ndarray:
    """Return the weight of each class [R, C], over the samples that are counted."""
    samples = len(classes_N)
    ones = np.ones(samples) if counted_N is None else counted_N.astype(float)
    member_NC = sparse.csr_array((ones, classes_N, np.arange(samples + 1)), shape=(samples, classes))
    return weights_RN @ member_NC


def _mean_ratio(above_RC: np.ndarray, below_RC: np.ndarray) -> np.ndarray:
    """Return the mean of above / below over the classes that have any below."""
    present_RC = below_RC > 0
    ratio_RC = np.divide(above_RC, below_RC, out=np.zeros_like(above_RC), where=present_RC)
    return ratio_RC.sum(1) / np.maximum(present_RC.sum(1), 1)
