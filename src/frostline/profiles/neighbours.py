"""What the nearest training samples answer: a reading of a representation that fits nothing (arXiv:2503.18528)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from frostline.profiles.score import has_classes

CELLS = 1 << 22
"""Similarities held in memory at a time, 4 bytes each, and a few times as many of what is worked out from them."""

ROWS = 1 << 14
"""Training samples that are compared at a time."""

SAME = 1e-6
"""Similarities, sums of them and votes that differ by less differ by rounding alone: they are ties."""


Columns = Callable[[Tensor], Tensor]
"""What makes columns [R, W] of the labels of R samples."""


@dataclass(frozen=True)
class Neighbours:
    """What ``k`` neighbours answer for M samples.

    ``outputs`` are the share of each class among them [M, C], or the mean of their columns [M, W]; ``classes`` is the
    class with the most neighbours [M], of a tie the one whose neighbours are nearer; None without classes.
    """

    k: int
    outputs: Tensor
    classes: Tensor | None


def ask_neighbours(
    train: tuple[Tensor, Tensor], features_MD: Tensor, k: int, classes: int | None = None, cells: int = CELLS
) -> Neighbours:
    """Return what the ``k`` most similar training samples, by cosine, answer for each of M samples.

    ``train`` is features [N, D] and labels as ``Task.targets`` has them: classes [N], ``classes`` of them in all, or
    columns [N, W], the mean of which is the answer. Of fewer than ``k`` training samples all are asked. Training
    samples that are tied at the k-th place share what is left of the k votes, so the answer depends neither on the
    order of the samples nor on how many are compared at a time. A sample whose features are all zero is as similar to
    one as to any other. Features must be finite. Memory: a few times ``cells`` numbers, and 16,384 training samples in
    single precision with a column for each class.
    """
    train_ND, labels = train
    assert k >= 1 and len(train_ND) == len(labels) > 0
    k = min(k, len(train_ND))
    labels = labels.to(train_ND.device)
    voting = has_classes(labels)
    if voting:
        width = classes if classes is not None else int(labels.max()) + 1
    else:
        labels = labels.reshape(len(labels), -1)
        width = labels.shape[1]

    def columns(part: Tensor) -> Tensor:
        return functional.one_hot(part, width).float() if voting else part.float()

    pairs = list(zip(train_ND.split(ROWS), labels.split(ROWS), strict=True))
    rows = max(1, cells // max(min(len(train_ND), ROWS), width))
    found = [_ask(pairs, columns, width, part, k) for part in features_MD.to(train_ND.device).split(rows)]
    outputs_MW = torch.cat([outputs for outputs, _ in found])
    nearness_MW = torch.cat([nearness for _, nearness in found])
    return Neighbours(k, outputs_MW, _choose(outputs_MW, nearness_MW) if voting else None)


def judge_samples(answers: Tensor, labels: Tensor, threshold: float | None = None) -> Tensor:
    """Return for each sample whether its answer is right [M], or how far it is off.

    Of classes, ``answers`` are classes [M]. Of tags [M, C] they are probabilities, and those above ``threshold`` must
    be just the sample's own. Of numbers [M, W] there is no threshold, and it is the mean absolute error.
    """
    if has_classes(labels):
        return answers.to(labels.device) == labels
    columns_MW = labels.reshape(len(labels), -1)
    answers = answers.reshape(columns_MW.shape).to(labels.device)
    if threshold is not None:
        return ((answers > threshold) == (columns_MW > 0)).all(dim=1)
    return (answers - columns_MW).abs().mean(dim=1)


def _ask(
    train: Sequence[tuple[Tensor, Tensor]], columns: Columns, width: int, features_QD: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Return the mean of the neighbours' columns, and that of them weighted by their similarity, both [Q, W].

    Twice over the training samples, unless they all fit at once: to find the similarity of the k-th neighbour, and to
    add up who is as near as that.
    """
    queries_QD = functional.normalize(features_QD.float())
    kept = {0: _compare(queries_QD, train[0][0])} if len(train) == 1 else {}
    best_QK = torch.empty(len(queries_QD), 0, device=queries_QD.device)
    for place, (part, _) in enumerate(train):
        similar_QR = kept[place] if place in kept else _compare(queries_QD, part)
        joined = torch.cat([best_QK, similar_QR.topk(min(k, similar_QR.shape[1])).values], dim=1)
        best_QK = joined.topk(min(k, joined.shape[1])).values
    last_Q1 = best_QK[:, -1:]
    shape = 2, 2, len(queries_QD), width
    sums = torch.zeros(shape, dtype=torch.float64, device=queries_QD.device)  # nearer or tied; plain or by similarity
    counts = torch.zeros(2, len(queries_QD), 1, dtype=torch.float64, device=queries_QD.device)
    for place, (part, labels) in enumerate(train):
        columns_RW = columns(labels)
        similar_QR = kept[place] if place in kept else _compare(queries_QD, part)
        nearer_QR = similar_QR > last_Q1 + SAME
        tied_QR = (similar_QR >= last_Q1 - SAME) & ~nearer_QR
        for group, member_QR in enumerate((nearer_QR.float(), tied_QR.float())):
            counts[group] += member_QR.sum(dim=1, keepdim=True)
            sums[group, 0] += member_QR @ columns_RW
            sums[group, 1] += (member_QR * similar_QR) @ columns_RW
    share_Q1 = (k - counts[0]) / counts[1]  # of a vote that each of the tied has
    plain, near = sums[0] + share_Q1 * sums[1]
    return (plain / k).float(), (near / k).float()


def _compare(queries_QD: Tensor, train_RD: Tensor) -> Tensor:
    return queries_QD @ functional.normalize(train_RD.float()).T


def _choose(votes_MC: Tensor, nearness_MC: Tensor) -> Tensor:
    """Return the class with the most votes [M]; of a tie the nearer, and of a tie there the first."""
    most = votes_MC >= votes_MC.amax(dim=1, keepdim=True) - SAME
    near_MC = nearness_MC.masked_fill(~most, -torch.inf)
    nearest = near_MC >= near_MC.amax(dim=1, keepdim=True) - SAME
    return nearest.float().argmax(dim=1)
