"""Features for scores: clouds of classes, and spaces turned, stretched and moved."""

import numpy as np
import torch
from torch import Tensor


def make_clouds(samples: int, width: int, classes: int = 3, apart: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return features [N, D] around a centre for each class, of correlated and unequal variances, and labels [N]."""
    random = np.random.default_rng(seed)
    labels_N = np.arange(samples) % classes
    scales_D = 1 / np.sqrt(1 + np.arange(width))
    noise_ND = random.normal(size=(samples, width)) * scales_D
    centres_CD = apart * random.normal(size=(classes, width)) * scales_D
    features_ND = (noise_ND + centres_CD[labels_N]) @ make_turn(width, seed + 1)
    return torch.from_numpy(features_ND).float(), torch.from_numpy(labels_N)


def make_turn(width: int, seed: int) -> np.ndarray:
    """Return a random rotation [D, D]."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def turn(features_ND: Tensor, seed: int = 5) -> Tensor:
    """Return features in a rotated space."""
    return features_ND @ torch.from_numpy(make_turn(features_ND.shape[1], seed)).to(features_ND)
