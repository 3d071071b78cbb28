"""The regularised H-score: how far the classes' means lie apart, against how features vary (Ibrahim et al. 2021)."""

import torch
from torch import Tensor

from frostline.profiles.score import NOISE, Score, Spectrum, centre, decompose, find_classes, find_fault, has_classes


def score_h(features_ND: Tensor, labels: Tensor) -> Score:
    """Return tr(cov(F)^-1 (1 - a) cov(E[F|y])), with cov(F) shrunk towards a multiple of the unit matrix by a.

    The share a is Ledoit and Wolf's (2004). From 0 to one less than there are classes; both covariances divide by N.
    Moving, rotating or scaling the features changes nothing. See arXiv:2110.06893. None without classes, and where
    no feature varies.
    """
    why = find_fault(features_ND, labels)
    if why is None and not has_classes(labels):
        why = "The H-score takes one class for each sample."
    if why is not None:
        return Score(None, why)
    spectrum = decompose(features_ND, centred=True)
    if not len(spectrum.squares):
        return Score(None, "No feature varies.")
    shrinkage = measure_shrinkage(features_ND, spectrum)
    places_N, counts_C = find_classes(labels.to(features_ND.device))
    members_NC = torch.nn.functional.one_hot(places_N, len(counts_C)).double()
    samples = len(features_ND)
    between_K = spectrum.squares * (spectrum.project(features_ND, members_NC).square() / counts_C).sum(dim=1) / samples
    variance = float(spectrum.squares.sum()) / samples / spectrum.width
    shrunk_K = (1 - shrinkage) * spectrum.squares / samples + shrinkage * variance
    return Score(float((1 - shrinkage) * (between_K / shrunk_K).sum()))


def measure_shrinkage(features_ND: Tensor, spectrum: Spectrum) -> float:
    """Return how far a covariance is best drawn to its mean variance times the unit matrix (Ledoit & Wolf 2004).

    ``spectrum`` is that of the centred features. 0 where it is one already, as the variance of a single feature is.
    """
    samples, width = features_ND.shape
    fourth = sum(float(part.square().sum(dim=1).square().sum()) for part in centre(features_ND, spectrum.mean))
    values_K = spectrum.squares / samples
    apart = float(values_K.square().sum()) - float(values_K.sum()) ** 2 / width  # from a multiple of the unit matrix
    noise = (fourth / samples - float(values_K.square().sum())) / samples
    return min(max(noise, 0.0) / apart, 1.0) if apart > NOISE * float(values_K.square().sum()) else 0.0
