"""The samples of which some are left out for a choice: drawn by class, and dealt out to folds."""

from typing import NamedTuple

import torch
from torch import Tensor

from frostline.data.order import draw_permutation
from frostline.heads import Scaling
from frostline.solving.rows import Rows, make_rows
from frostline.tasks.base import Task

FOLDS = 4
MOST = 500
"""So many training and so many validation samples choose at most, but two of each class.

With 19 taps that takes 5 s of one processor; 1,000 took 14 s (fashion) and 10 s (digits), and chose no better.
"""


class Samples(NamedTuple):
    """What a head is solved on: features [N, D] of all taps side by side, perhaps mapped files, and labels [N, ...].

    There are ``views`` of each sample, one after the other: the first N / views rows are all samples in one view.
    """

    features: Rows
    labels: Tensor
    views: int = 1

    @property
    def first(self) -> Tensor:
        """The labels of one view: of each sample once."""
        return self.labels[: len(self.labels) // self.views]

    def select(self, places: Tensor) -> "Samples":
        """Return the samples at these places [n], in all views, in memory."""
        rows = torch.cat([places + view * len(self.first) for view in range(self.views)])
        return Samples(make_rows(self.features.take(rows)), self.labels[rows], self.views)


def scale_samples(samples: Samples, scaling: Scaling) -> Samples:
    """Return samples with their taps brought to one variance, chunk by chunk whenever they are read."""
    return samples._replace(features=samples.features.scale_columns(scaling.centre, scaling.spread_factors()))


def draw_few(task: Task, samples: Samples, outputs: int, seed: int) -> Samples:
    """Return at most ``MOST`` samples with all their views counted, but two of each class, drawn by class."""
    most = max(MOST // samples.views, 2 * outputs)
    return samples.select(spread_by_class(task, samples.first, seed)[:most])


def spread_by_class(task: Task, labels: Tensor, seed: int) -> Tensor:
    """Return a random order of samples [N] of which every beginning has the classes in proportion, but two of each."""
    order, rank, count = _rank_in_class(task, labels, seed)
    place = torch.where(rank < 2, 0.0, (rank + 0.5) / count)
    return order[place.argsort(stable=True)]


def draw_folds(task: Task, labels: Tensor, seed: int) -> Tensor:
    """Return the fold of each sample [N], dealt out class by class; -1 for what is never left out.

    That is the only sample of a class, and all where fewer than two samples are left.
    """
    order, _, count = _rank_in_class(task, labels, seed)
    order = order[count > 1] if task.solver == "multinomial" else order
    folds = torch.full((len(labels),), -1)
    if len(order) > 1:
        folds[order] = torch.arange(len(order)) % min(FOLDS, len(order))
    return folds


def _rank_in_class(task: Task, labels: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a random order of samples class by class; of each its number in its class, and how many that has."""
    order = draw_permutation(len(labels), seed, "choose")
    classes = labels.cpu() if task.solver == "multinomial" else torch.zeros(len(labels), dtype=torch.long)
    order = order[classes[order].argsort(stable=True)]
    counts = torch.bincount(classes)
    own = classes[order]
    return order, torch.arange(len(order)) - (counts.cumsum(0) - counts)[own], counts[own]
