"""LogME is the paper's evidence at its maximum, whatever the features' scale, and says where it has no bound."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from tests.profiles.spaces import make_clouds, turn
from torch import Tensor

from frostline.profiles.logme import score_logme

shapes = st.tuples(st.integers(12, 60), st.integers(1, 80))


def paper(features_ND: Tensor, columns_NW: np.ndarray, steps: int = 3000) -> float:
    """Return equations 2 and 3 of You et al. 2021 at their fixed point, by the D x D matrix itself."""
    F = features_ND.double().numpy()
    N, D = F.shape
    found = []
    for y in columns_NW.T:
        alpha, beta = 1.0, 1.0
        for _ in range(steps):
            A = alpha * np.eye(D) + beta * F.T @ F
            m = beta * np.linalg.solve(A, F.T @ y)
            gamma = np.trace(np.linalg.solve(A, beta * F.T @ F))
            alpha, beta = gamma / (m @ m), (N - gamma) / ((y - F @ m) @ (y - F @ m))
        A = alpha * np.eye(D) + beta * F.T @ F
        m = beta * np.linalg.solve(A, F.T @ y)
        rest = y - F @ m
        found.append(
            D / 2 * math.log(alpha) + N / 2 * math.log(beta) - N / 2 * math.log(2 * math.pi)
            - beta / 2 * rest @ rest - alpha / 2 * m @ m - np.linalg.slogdet(A)[1] / 2
        )  # fmt: skip
    return float(np.mean(found)) / N


def marginal(features_ND: Tensor, columns_NW: np.ndarray) -> float:
    """Return the largest log density of the columns as noise of covariance FF'/alpha + 1/beta, by a search of both."""
    F = features_ND.double().numpy()
    found = []
    for y in columns_NW.T:

        def surprise(logs: np.ndarray, y: np.ndarray = y) -> float:
            covariance = F @ F.T / np.exp(logs[0]) + np.eye(len(F)) / np.exp(logs[1])
            return -float(stats.multivariate_normal.logpdf(y, cov=covariance, allow_singular=True))  # type: ignore[arg-type]

        starts = [optimize.minimize(surprise, np.array([2.0, start]), method="Nelder-Mead") for start in (1.0, 4.0)]
        found.append(-min(float(one.fun) for one in starts))
    return float(np.mean(found)) / len(F)


@pytest.mark.parametrize(("samples", "width"), [(60, 10), (40, 60), (30, 90)])
def test_it_is_the_largest_evidence_with_more_features_than_samples_too(samples: int, width: int) -> None:
    features, labels = make_clouds(samples, width, apart=0.3)
    columns = (labels[:, None] == torch.arange(3)).double().numpy()
    found = score_logme(features, labels).value
    assert found == pytest.approx(marginal(features, columns), abs=1e-4)


@pytest.mark.parametrize(("samples", "width"), [(200, 10), (90, 40)])
def test_classes_have_the_evidence_of_the_paper(samples: int, width: int) -> None:
    features, labels = make_clouds(samples, width, apart=0.7)
    columns = (labels[:, None] == torch.arange(3)).double().numpy()
    assert score_logme(features, labels).value == pytest.approx(paper(features, columns), abs=1e-6)


def test_numbers_and_tags_are_columns() -> None:
    features, labels = make_clouds(120, 12)
    numbers = (features @ torch.randn(12, 2, generator=torch.Generator().manual_seed(0))).double()
    numbers += torch.randn(120, 2, generator=torch.Generator().manual_seed(1)).double()
    assert score_logme(features, numbers).value == pytest.approx(paper(features, numbers.numpy()), abs=1e-6)
    tags = (labels[:, None] == torch.arange(3)).float()
    assert score_logme(features, tags).value == pytest.approx(score_logme(features, labels).value)
    constant = torch.cat([tags, torch.ones(120, 1), torch.zeros(120, 1)], dim=1)
    assert score_logme(features, constant).value == pytest.approx(score_logme(features, tags).value)


@given(shapes, st.floats(1e-4, 1e4), st.integers(0, 9))
@settings(max_examples=25)
def test_turning_scaling_or_shuffling_features_changes_nothing(shape: tuple[int, int], scale: float, seed: int) -> None:
    features, labels = make_clouds(*shape, seed=seed)
    first = score_logme(features, labels)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(seed))
    for other in (
        score_logme(turn(features.double()), labels),
        score_logme(features * scale, labels),
        score_logme(features[order], labels[order]),
        score_logme(features, labels + 7),
        score_logme(torch.cat([features, torch.zeros(shape[0], 3)], dim=1), labels),
    ):
        assert (other.value is None) == (first.value is None)
        if first.value is not None and other.value is not None:
            assert math.isfinite(first.value) and other.value == pytest.approx(first.value, abs=1e-4)


def test_it_rises_as_classes_move_apart() -> None:
    found = [score_logme(*make_clouds(150, 20, apart=apart)).value for apart in (0.0, 0.5, 1.0, 3.0)]
    assert found == sorted(found, key=lambda one: one or math.nan)


def test_features_that_say_nothing_have_the_evidence_of_noise() -> None:
    _, labels = make_clouds(90, 4)
    columns = (labels[:, None] == torch.arange(3)).double()
    noise = -0.5 * (torch.log(2 * math.pi * columns.square().mean(dim=0)) + 1)
    assert score_logme(torch.zeros(90, 4), labels).value == pytest.approx(float(noise.mean()))


def test_more_features_than_samples_are_bounded_and_an_exact_fit_is_said() -> None:
    features, labels = make_clouds(30, 200)
    found = score_logme(features, labels)
    assert found.value is not None and math.isfinite(found.value)
    twice = score_logme(torch.cat([features, features[:4]]), torch.cat([labels, labels[:4]]))
    assert twice.value == pytest.approx(found.value)
    few, same = make_clouds(6, 20)
    doubled = score_logme(few.repeat(4, 1), same.repeat(4))
    assert doubled.value is None and doubled.why and "without error" in doubled.why
    told = score_logme((labels[:, None] == torch.arange(3)).float(), labels)
    assert told.value is None and told.why and "without error" in told.why


def test_what_has_no_score_says_why() -> None:
    features, labels = make_clouds(30, 4)
    for bad, about in (
        (score_logme(features, torch.zeros(30, dtype=torch.long)), "same label"),
        (score_logme(features, torch.full((30, 1), 2.5)), "same label"),
        (score_logme(features[:1], labels[:1]), "1 samples are too few"),
        (score_logme(features.masked_fill(features == features[0, 0], math.nan), labels), "not finite"),
    ):
        assert bad.value is None and bad.why and about in bad.why


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = make_clouds(100, 12)
    whole = score_logme(features, labels).value
    monkeypatch.setattr("frostline.profiles.score.CHUNK", 7)
    assert score_logme(features, labels).value == pytest.approx(whole, abs=1e-10)
    assert score_logme(features.half(), labels).value == pytest.approx(whole, abs=1e-3)
