"""Feature sets of every kind that a frozen network may give, and the objective that a solver is held to."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

Weights = tuple[Tensor, Tensor]


@st.composite
def feature_sets(draw: st.DrawFn) -> Tensor:
    """Draw features [N, D]: correlated, N < D or N > D, some constant or the same, far from 0, of any scale."""
    samples, width = draw(st.integers(6, 60)), draw(st.integers(1, 80))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    decay = torch.logspace(0, -draw(st.integers(0, 4)), width)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    features = (torch.randn(samples, width, generator=generator) * decay) @ turn
    if draw(st.booleans()):
        features[:, : width // 2] = 3.25  # constant
    if draw(st.booleans()):
        features[:, -1] = features[:, 0]
    if draw(st.booleans()):
        features[samples // 2 :] = features[: samples - samples // 2].clone()  # the same samples again
    features = features + draw(st.sampled_from([0.0, 10.0, -200.0]))
    return features * draw(st.sampled_from([1e-12, 1e-3, 1.0, 1e4, 1e12]))


@st.composite
def labels(draw: st.DrawFn, samples: int, classes: int) -> Tensor:
    """Draw labels [N] of which each class has one at least, and perhaps no more."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rare = draw(st.booleans())
    rest = torch.randint(classes - 1 if rare and classes > 2 else classes, (samples - classes,), generator=generator)
    return torch.cat([torch.arange(classes), rest])[torch.randperm(samples, generator=generator)]


def standardise(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return features in double precision with what was taken away and what they were divided by."""
    variance, mean = torch.var_mean(features.double(), dim=0, correction=0)
    spread = variance[variance >= 1e-10 * variance.max()].mean().sqrt()
    spread = spread if spread > 0 else torch.ones_like(spread)
    return (features.double() - mean) / spread, mean, spread


def find_gradient(features: Tensor, found: Weights, penalty: float, loss: Any) -> tuple[float, float]:
    """Return the lengths of the objective's gradient and of the penalty times the weights, on standard features."""
    standard, mean, spread = standardise(features)
    weight = (found[0].double() * spread).requires_grad_()
    bias = (found[1].double() + found[0].double() @ mean).requires_grad_()
    objective = loss(standard @ weight.T + bias) + penalty / 2 * weight.square().sum()
    gradients = torch.autograd.grad(objective, (weight, bias))
    return float(torch.cat([each.flatten() for each in gradients]).norm()), float(penalty * weight.detach().norm())


def mean_cross_entropy(targets: Tensor, share: Tensor) -> Any:
    """Return the loss of logits, each sample's counted by its share."""
    return lambda logits: (functional.cross_entropy(logits, targets, reduction="none") * share).sum()


def mean_logistic(targets: Tensor, share: Tensor) -> Any:
    """Return the loss of logits [N, 1] of samples that are 0 or 1, each counted by its share."""
    return lambda logits: (
        functional.binary_cross_entropy_with_logits(logits[:, 0], targets.double(), reduction="none") * share
    ).sum()


def blobs(classes: int = 4, samples: int = 120, width: int = 30) -> tuple[Tensor, Tensor]:
    """Features of classes that overlap."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.arange(samples) % classes
    centres = torch.randn(classes, width, generator=generator)
    return centres[targets] + 2 * torch.randn(samples, width, generator=generator), targets
