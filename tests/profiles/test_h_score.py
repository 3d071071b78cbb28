"""The regularised H-score is the paper's trace, whatever moves, turns or stretches the features."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf
from tests.profiles.spaces import make_clouds, turn
from torch import Tensor

from frostline.profiles.h_score import measure_shrinkage, score_h
from frostline.profiles.score import decompose

shapes = st.tuples(st.integers(12, 60), st.integers(1, 80))


def paper(features_ND: Tensor, labels_N: Tensor) -> float:
    """Return Ibrahim et al. 2021's trace by the D x D matrices themselves, with scikit-learn's shrinkage."""
    F, y = features_ND.double().numpy(), labels_N.numpy()
    fitted = LedoitWolf().fit(F)
    means = np.stack([F[y == label].mean(axis=0) for label in y])
    between = np.cov(means, rowvar=False, bias=True).reshape(F.shape[1], F.shape[1])
    return float(np.trace(np.linalg.pinv(fitted.covariance_) @ ((1 - fitted.shrinkage_) * between)))


@pytest.mark.parametrize(("samples", "width"), [(300, 10), (90, 40), (40, 70), (30, 1)])
def test_it_is_the_trace_of_the_paper(samples: int, width: int) -> None:
    features, labels = make_clouds(samples, width)
    assert score_h(features, labels).value == pytest.approx(paper(features, labels), rel=1e-6)
    shrinkage = measure_shrinkage(features, decompose(features, centred=True))
    assert shrinkage == pytest.approx(LedoitWolf().fit(features.double().numpy()).shrinkage_, rel=1e-6)


@given(shapes, st.floats(1e-4, 1e4), st.floats(-10, 10), st.integers(0, 9))
@settings(max_examples=25)
def test_moving_turning_or_scaling_changes_nothing_and_it_stays_within_its_bounds(
    shape: tuple[int, int], scale: float, step: float, seed: int
) -> None:
    features, labels = make_clouds(*shape, classes=4, seed=seed)
    first = score_h(features, labels).value
    assert first is not None and -1e-9 <= first <= 3 + 1e-9
    others = [turn(features.double()), features.double() * scale, features.double() + step]
    for other in others:
        assert score_h(other, labels).value == pytest.approx(first, abs=1e-5)
    assert score_h(features, labels * 3 + 5).value == pytest.approx(first)


def test_it_rises_as_classes_move_apart() -> None:
    found = [score_h(*make_clouds(150, 20, apart=apart)).value for apart in (0.0, 0.5, 1.0, 3.0)]
    assert found == sorted(found, key=lambda one: one or math.nan)


def test_a_class_of_one_sample_and_constant_features_do_no_harm() -> None:
    features, labels = make_clouds(40, 6)
    labels[0] = 9
    found = score_h(features, labels).value
    wider = torch.cat([features, torch.full((40, 6), 3.0)], dim=1)
    assert found == pytest.approx(paper(features, labels), rel=1e-6)
    assert score_h(wider, labels).value == pytest.approx(paper(wider, labels), rel=1e-5)


def test_what_has_no_score_says_why() -> None:
    features, labels = make_clouds(30, 4)
    for bad, about in (
        (score_h(features, torch.zeros(30, dtype=torch.long)), "same label"),
        (score_h(features, torch.randn(30, 1)), "one class for each sample"),
        (score_h(torch.full((30, 4), 2.0), labels), "No feature varies"),
        (score_h(features.masked_fill(features == features[0, 0], math.inf), labels), "not finite"),
    ):
        assert bad.value is None and bad.why and about in bad.why


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = make_clouds(100, 12)
    whole = score_h(features, labels).value
    monkeypatch.setattr("frostline.profiles.score.CHUNK", 7)
    assert score_h(features, labels).value == pytest.approx(whole, abs=1e-10)
