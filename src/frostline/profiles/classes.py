"""Where classes part: the recall of each class at each depth, and from which depth on it is as good as it gets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.intervals import Interval, paired_share_interval, share_interval

POINT = 0.01


@dataclass(frozen=True)
class ClassDepths:
    """One class along the depths, from the first to the last.

    ``n`` is how many samples it has, ``recalls`` the share of them that is right at each depth, with ``intervals``.
    ``best`` is the first depth with the best recall, ``near`` the first within a point of it, ``alike`` the first
    that cannot be told apart from it by these samples: the class parts between the two.
    Without samples there are no recalls, and the depths are None.
    """

    name: str
    n: int
    recalls: tuple[float, ...] = ()
    intervals: tuple[Interval, ...] = ()
    best: int | None = None
    near: int | None = None
    alike: int | None = None


def part_classes(right: Sequence[Tensor], labels: Tensor, classes: Sequence[str]) -> list[ClassDepths]:
    """Return each class along the depths, in the order of ``classes``.

    ``right`` has for each depth whether the samples are right: with classes as ``labels`` [M] one truth each [M],
    with tags [M, C] one for each class [M, C], of which those that a sample has count.
    """
    right_TM = torch.stack([each.cpu() for each in right]).bool()
    found = []
    for place, name in enumerate(classes):
        if labels.dim() == 1:
            hits_TN = right_TM[:, (labels == place).cpu()]
        else:
            hits_TN = right_TM[:, (labels[:, place] > 0).cpu(), place]
        found.append(_follow(name, hits_TN))
    return found


def _follow(name: str, hits_TN: Tensor) -> ClassDepths:
    n = hits_TN.shape[1]
    if n == 0:
        return ClassDepths(name, 0)
    counts = hits_TN.sum(dim=1).tolist()
    recalls = tuple(count / n for count in counts)
    best = counts.index(max(counts))
    near = next(depth for depth, recall in enumerate(recalls) if recall >= recalls[best] - POINT - 1e-9)
    rows = [row.tolist() for row in hits_TN]
    alike = next(
        depth for depth, row in enumerate(rows) if depth == best or paired_share_interval(rows[best], row).low <= 0
    )
    return ClassDepths(name, n, recalls, tuple(share_interval(count, n) for count in counts), best, near, alike)
