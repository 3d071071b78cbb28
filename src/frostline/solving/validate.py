"""Linear models of many sets of features, for many penalties, judged on samples that they were not solved on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from frostline.solving.decompose import Decomposition, decompose_features
from frostline.solving.path import Question, measure_losses, solve_path
from frostline.solving.rows import CHUNK, Features, make_rows
from frostline.solving.threads import share_threads

ROUGH = 1e-2
"""The tolerance of solutions that are compared with one another: a third of the passes that a final one needs."""


class Validation(NamedTuple):
    """What cross-validation found of one set of features, for each of P penalties and F subsets.

    ``outputs`` [P, N, width] of samples left out: the mean over the subsets without a sample, NaN where none is.
    ``losses`` [P, F]: the mean over the samples that a subset leaves out. ``weights`` [P, width, D] and ``biases``
    [P, width] of the features themselves, solved on all samples.
    """

    outputs: Tensor
    losses: Tensor
    weights: Tensor
    biases: Tensor


def count_folds(folds_N: Tensor) -> Tensor:
    """Return the subsets [F, N] of folds: each has all samples but those of one fold, of which 0 is the first."""
    places = torch.arange(int(folds_N.max()) + 1, device=folds_N.device)
    return (folds_N != places[:, None]).float()


def draw_resamplings(samples: int, times: int, seed: int) -> Tensor:
    """Return how often each sample is in each of ``times`` bootstrap resamplings [times, samples]."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(samples, (times, samples), generator=generator)
    return torch.zeros(times, samples).scatter_add_(1, drawn, torch.ones(times, samples))


def cross_validate_taps(
    taps: Sequence[Features], question: Question, penalties: Sequence[float], tolerance: float = ROUGH
) -> list[Validation]:
    """Return what `cross_validate` finds of each tap [N, D_t]: as many at the same time as torch has threads.

    On a GPU one after the other.
    """

    def judge(features: Features) -> Validation:
        return cross_validate(decompose_features(features), question, penalties, tolerance)

    with share_threads() as (_, pool):
        on_host = all(make_rows(features).device.type == "cpu" for features in taps)
        return list(pool.map(judge, taps) if on_host else map(judge, taps))


def cross_validate(
    decomposition: Decomposition, question: Question, penalties: Sequence[float], tolerance: float = ROUGH
) -> Validation:
    """Return losses and outputs on samples left out of each subset of ``question``, and weights from all samples.

    All samples are decomposed together, those left out as well: of their features alone, which no more than turns
    and scales all of them. ``penalties`` go from the strongest to the weakest.
    """
    assert question.counts_FN is not None, "cross-validation is over subsets"
    counts_FN = question.counts_FN.to(decomposition.device, torch.float32)
    together = replace(question, counts_FN=torch.cat([counts_FN, torch.ones_like(counts_FN[:1])]))
    outputs, losses, weights, biases = [], [], [], []
    for solved in solve_path(decomposition, together, penalties, tolerance):
        outside, loss_F = _judge(decomposition, question, solved.weights[:-1], (counts_FN == 0).float())
        weight, bias = decomposition.map_weights(solved.weights[-1])
        for found, one in zip((outputs, losses, weights, biases), (outside, loss_F, weight, bias), strict=True):
            found.append(one)
    return Validation(torch.stack(outputs), torch.stack(losses), torch.stack(weights), torch.stack(biases))


def _judge(
    decomposition: Decomposition, question: Question, weights: Tensor, outside_FN: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean outputs [N, width] and mean losses [F] of samples that are outside of subsets."""
    lowered = decomposition.prepare_weights(weights.flatten(0, 1))
    means, sums_F, start = [], weights.new_zeros(len(weights), dtype=torch.float64), 0
    for chunk in decomposition.chunks(CHUNK):
        end = start + len(chunk)
        outside = outside_FN[:, start:end]
        outputs = (lowered @ chunk.T).view(*weights.shape[:2], -1).transpose(1, 2)  # [F, n, width]
        importance = None if question.importance is None else question.importance[start:end]
        losses = measure_losses(question.kind, outputs, question.targets[start:end], importance)
        sums_F += (losses * outside).sum(dim=1, dtype=torch.float64)
        means.append((outputs * outside[..., None]).sum(dim=0) / outside.sum(dim=0)[:, None])
        start = end
    return torch.cat(means), (sums_F / outside_FN.sum(dim=1)).float()
