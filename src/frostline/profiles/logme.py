"""LogME: the evidence of a Bayesian linear model of the labels (You et al. 2021, arXiv:2102.11005)."""

import math

import torch
from torch import Tensor

from frostline.profiles.score import Score, decompose, find_fault, make_columns

EXACT = 1e-10
"""A share of the labels' squares below which what a fit leaves over is rounding."""
BELOW, ABOVE = 16.0, 24.0
"""How far the search goes beyond the smallest and the largest squared singular value, in natural logarithms."""
STEPS = 96  # of the grid on which the search starts
NARROWINGS = 40  # of the golden section from there
GOLDEN = (math.sqrt(5) - 1) / 2


def score_logme(features_ND: Tensor, labels: Tensor) -> Score:
    """Return the largest log evidence per sample, the mean over the columns of the labels, of classes one each.

    A column y is taken as F w + noise, w ~ N(0, 1/alpha), noise ~ N(0, 1/beta), with neither an intercept nor centred
    features, as in the paper; of a regression it is in the units of the labels, so give it ones of deviation 1.
    The evidence is maximised over alpha and beta. Given t = alpha / beta the best beta is known, so one number is
    searched, on a grid and then by golden section: the paper's fixed point, but wherever one begins, and not up to
    11 steps from alpha = beta = 1, which depends on the scale of the features. Rotating or scaling the features
    changes nothing. Where D > N the published code counts D - N directions too many (``D / 2 log alpha``).

    None where features fit a column without error though they have fewer directions than samples, as a feature does
    that is the label: the evidence has no bound there. Where only repeated samples make it so, each counts once.
    """
    why = find_fault(features_ND, labels)
    if why is not None:
        return Score(None, why)
    columns_NW = make_columns(labels.to(features_ND.device))
    spectrum = decompose(features_ND, centred=False)
    projected_KW = spectrum.project(features_ND, columns_NW).square()
    total_W = columns_NW.square().sum(dim=0)
    rest_W = (total_W - projected_KW.sum(dim=0)).clamp_min(0)
    spans = len(spectrum.squares) >= len(features_ND)
    rest_W = torch.zeros_like(rest_W) if spans else rest_W
    if not spans and bool((rest_W <= EXACT * total_W).any()):
        return _score_distinct(features_ND, columns_NW)
    best_W = _maximise(spectrum.squares, projected_KW, rest_W, len(features_ND))
    return Score(float(best_W.mean()) / len(features_ND))


def _score_distinct(features_ND: Tensor, columns_NW: Tensor) -> Score:
    """Return the score of features that fit the labels without error: where most samples differ, each counted once."""
    together = torch.cat([features_ND.double(), columns_NW], dim=1)
    distinct = together.unique(dim=0)
    if len(together) / 2 <= len(distinct) < len(together):
        return score_logme(distinct[:, : features_ND.shape[1]], distinct[:, features_ND.shape[1] :])
    return Score(None, "The features fit the labels without error, so the evidence has no bound.")


def _maximise(squares_K: Tensor, projected_KW: Tensor, rest_W: Tensor, samples: int) -> Tensor:
    """Return the largest log evidence of each column [W] over log t."""

    def evidence(logs_W: Tensor) -> Tensor:
        return _evidence(squares_K, projected_KW, rest_W, samples, logs_W)

    if not len(squares_K):  # features that are all zero explain nothing, whatever t
        return evidence(torch.zeros_like(rest_W))
    start, end = float(squares_K[-1].log()) - BELOW, float(squares_K[0].log()) + ABOVE
    step = (end - start) / STEPS
    grid = [start + step * place for place in range(STEPS + 1)]
    found_GW = torch.stack([evidence(torch.full_like(rest_W, each)) for each in grid])
    middle_W = start + step * found_GW.argmax(dim=0)
    low_W, high_W = middle_W - step, middle_W + step
    for _ in range(NARROWINGS):
        inner_W, outer_W = high_W - GOLDEN * (high_W - low_W), low_W + GOLDEN * (high_W - low_W)
        rising = evidence(inner_W) < evidence(outer_W)
        low_W, high_W = torch.where(rising, inner_W, low_W), torch.where(rising, high_W, outer_W)
    return torch.maximum(evidence((low_W + high_W) / 2), found_GW.amax(dim=0))


def _evidence(squares_K: Tensor, projected_KW: Tensor, rest_W: Tensor, samples: int, logs_W: Tensor) -> Tensor:
    """Return the log evidence of each column [W] at log t = log(alpha / beta), with the best beta for that."""
    odds_KW = squares_K[:, None] / logs_W.exp()
    quadratic_W = (projected_KW / (1 + odds_KW)).sum(dim=0) + rest_W  # N / beta
    determinant_W = torch.log1p(odds_KW).sum(dim=0)
    return -samples / 2 * (torch.log(2 * math.pi * quadratic_W / samples) + 1) - determinant_W / 2
