"""What a score of a representation is, which labels it takes, and the spectrum that scores are worked out on.

Features are [N, D]. Labels are what ``Task.targets`` returns: classes as whole numbers [N], or columns of numbers
[N, W]: tags of 0 and 1, or what a regression learns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 4096
"""Samples that are held in double precision at a time."""

NOISE = 1e-12
"""A squared singular value below this share of the largest is rounding: features are single precision at best."""


@dataclass(frozen=True)
class Score:
    """How well features suit labels: more is better. Where ``value`` is None, ``why`` says the reason in a sentence."""

    value: float | None
    why: str | None = None


def find_fault(features_ND: Tensor, labels: Tensor) -> str | None:
    """Return why no score can be had of these features and labels, None where nothing speaks against it."""
    if len(features_ND) < 2:
        return f"{len(features_ND)} samples are too few: a score takes two."
    if not all(bool(part.isfinite().all()) for part in features_ND.split(CHUNK)):
        return "Some features are not finite."
    if not bool((labels != labels[0]).any()):
        return "All samples have the same label, so there is nothing to tell apart."
    return None


def has_classes(labels: Tensor) -> bool:
    """Return whether labels are one class for each sample."""
    return labels.dim() == 1 and not labels.is_floating_point()


def find_classes(labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place of each sample's class [N] among those that have samples, and how many each has [C]."""
    _, places_N, counts_C = labels_N.unique(return_inverse=True, return_counts=True)
    return places_N, counts_C


def make_columns(labels: Tensor) -> Tensor:
    """Return labels as the columns [N, W] that linear models fit: of classes a 0 or 1 for each that has samples.

    Columns that do not vary are left out: there is nothing to fit.
    """
    if has_classes(labels):
        places_N, counts_C = find_classes(labels)
        return torch.nn.functional.one_hot(places_N, len(counts_C)).double()
    columns_NW = labels.double().reshape(len(labels), -1)
    return columns_NW[:, (columns_NW != columns_NW[0]).any(dim=0)]


@dataclass(frozen=True)
class Spectrum:
    """Features F = U S V': ``squares`` are S^2 above rounding [K], ``directions`` V [D, K] where N >= D, else U [N, K].

    ``mean`` [D] was taken away before, all zero where features are taken as they are.
    """

    squares: Tensor
    directions: Tensor
    mean: Tensor
    samples: int
    width: int

    def project(self, features_ND: Tensor, targets_NW: Tensor) -> Tensor:
        """Return U'Y [K, W] of columns [N, W] in double precision; ``features_ND`` are those it was made of."""
        if self.samples < self.width:
            return self.directions.T @ targets_NW
        found_DW = torch.zeros(self.width, targets_NW.shape[1]).to(self.directions)
        for features, rows in zip(centre(features_ND, self.mean), targets_NW.split(CHUNK), strict=True):
            found_DW += features.T @ rows
        return (self.directions.T @ found_DW) / self.squares.sqrt()[:, None]

    def coordinates(self, features_ND: Tensor, count: int) -> Tensor:
        """Return the features along the ``count`` directions in which they vary most [N, count]: principal components.

        ``features_ND`` are those it was made of.
        """
        if self.samples < self.width:
            return self.directions[:, :count] * self.squares[:count].sqrt()
        return torch.cat([part @ self.directions[:, :count] for part in centre(features_ND, self.mean)])


def decompose(features_ND: Tensor, centred: bool) -> Spectrum:
    """Return the spectrum of features, by the smaller of F'F and FF', in double precision.

    Memory: the smaller of N and D squared, and of N >= D a chunk of samples at a time, else all in double precision.
    """
    samples, width = features_ND.shape
    mean_D = torch.zeros(width, dtype=torch.float64, device=features_ND.device)
    if centred:
        mean_D = sum((part.double().sum(dim=0) for part in features_ND.split(CHUNK)), mean_D) / samples
    if samples < width:
        whole_ND = torch.cat(list(centre(features_ND, mean_D)))
        gram = whole_ND @ whole_ND.T
    else:
        gram = torch.zeros(width, width).to(mean_D)
        for part in centre(features_ND, mean_D):
            gram += part.T @ part
    squares, directions = torch.linalg.eigh(gram)
    kept = (squares > NOISE * squares[-1]) & (squares > 0)
    return Spectrum(squares[kept].flip(0), directions[:, kept].flip(1), mean_D, samples, width)


def centre(features_ND: Tensor, mean_D: Tensor) -> Iterator[Tensor]:
    """Yield features less their mean, a chunk of samples at a time, in double precision."""
    for part in features_ND.split(CHUNK):
        yield part.double() - mean_D
