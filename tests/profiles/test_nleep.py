"""NLEEP is LEEP on a mixture of the principal components, whatever turns or stretches the features."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from tests.profiles.spaces import make_clouds, turn
from torch import Tensor

from frostline.profiles.nleep import reduce_features, score_nleep


def paper(features_ND: Tensor, labels_N: Tensor) -> float:
    """Return LEEP (Nguyen et al. 2020, equations 1 and 2) on the posteriors of a mixture, sample by sample."""
    reduced = PCA(0.8, svd_solver="full").fit_transform(features_ND.double().numpy())
    reduced /= np.sqrt((reduced**2).mean())
    classes, y = np.unique(labels_N.numpy(), return_inverse=True)
    components = 5 * len(classes)
    mixture = GaussianMixture(components, covariance_type="diag", reg_covar=1e-3, random_state=0)
    theta = mixture.fit(reduced).predict_proba(reduced)
    total = 0.0
    for row, label in zip(theta, y, strict=True):
        given = [theta[y == label, z].sum() / theta[:, z].sum() for z in range(components)]
        total += math.log(sum(share * said for share, said in zip(given, row, strict=True)))
    return total / len(y)


@pytest.mark.parametrize(("samples", "width"), [(200, 6), (120, 30), (60, 90)])
def test_it_is_leep_on_the_mixture(samples: int, width: int) -> None:
    features, labels = make_clouds(samples, width)
    assert score_nleep(features, labels).value == pytest.approx(paper(features, labels), abs=1e-6)


@pytest.mark.parametrize(("samples", "width"), [(100, 12), (30, 50)])
def test_components_are_those_that_keep_most_of_the_variance(samples: int, width: int) -> None:
    features, _ = make_clouds(samples, width)
    theirs = PCA(0.8, svd_solver="full").fit(features.double().numpy())
    found = reduce_features(features)
    assert found.shape[1] == theirs.n_components_
    assert float(found.square().mean()) == pytest.approx(1)
    shares = found.square().sum(dim=0) / found.square().sum()
    expected = theirs.explained_variance_ / theirs.explained_variance_.sum()
    assert shares.numpy() == pytest.approx(expected, rel=1e-5)


@given(st.integers(1, 30), st.floats(1e-4, 1e4), st.integers(0, 5))
@settings(max_examples=5)
def test_turning_scaling_and_moving_change_nothing_and_it_is_never_above_0(width: int, scale: float, seed: int) -> None:
    features, labels = make_clouds(60, width, seed=seed)
    features = features.double()
    first = score_nleep(features, labels).value
    assert first is not None and first <= 1e-12
    for other in (turn(features), features * scale, features + 3.0):
        assert score_nleep(other, labels).value == pytest.approx(first, abs=1e-4)
    assert score_nleep(features, labels * 2 + 1).value == pytest.approx(first)


def test_it_rises_as_classes_move_apart_and_is_at_least_that_of_the_shares_of_classes() -> None:
    found = [score_nleep(*make_clouds(150, 20, apart=apart)).value for apart in (0.0, 1.0, 3.0)]
    assert found == sorted(found, key=lambda one: one or math.nan)
    assert found[0] is not None and found[0] >= -math.log(3)


def test_what_has_no_score_says_why() -> None:
    features, labels = make_clouds(60, 4)
    for bad, about in (
        (score_nleep(features, torch.zeros(60, dtype=torch.long)), "same label"),
        (score_nleep(features, torch.randn(60, 1)), "one class for each sample"),
        (score_nleep(torch.full((60, 4), 2.0), labels), "No feature varies"),
        (score_nleep(features[:29], labels[:29]), "29 different samples are too few for 15 Gaussians"),
        (score_nleep(features[:20].repeat(3, 1), labels[:20].repeat(3)), "20 different samples are too few"),
        (score_nleep(features.masked_fill(features == features[0, 0], math.nan), labels), "not finite"),
    ):
        assert bad.value is None and bad.why and about in bad.why
    assert score_nleep(features[:30], labels[:30]).value is not None
