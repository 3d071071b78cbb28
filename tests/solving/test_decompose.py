"""A decomposition says the same as the features: each linear model of one is a linear model of the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.solving.shapes import feature_sets, standardise
from torch import Tensor

from frostline.solving.decompose import decompose_features

usual = settings(max_examples=40, deadline=None, derandomize=True)


@usual
@given(feature_sets(), st.integers(0, 100))
def test_weights_of_coordinates_and_of_features_give_the_same_outputs(features: Tensor, seed: int) -> None:
    found = decompose_features(features)
    assert found.coordinates is not None and len(found.moments) <= min(features.shape) + 1
    weights = torch.randn(2, 3, len(found.moments), generator=torch.Generator().manual_seed(seed))
    weight, bias = found.map_weights(weights)
    assert weight.shape == (2, 3, features.shape[1]) and bias.shape == (2, 3)
    expected = weights.double() @ found.coordinates.double().T
    said = weight.double() @ features.double().T + bias.double()[..., None]
    around = float(features.double().abs().max() / found.spread)  # digits lost where features are far from 0
    torch.testing.assert_close(said, expected, rtol=1e-3, atol=1e-3 + 1e-5 * around)


@usual
@given(feature_sets())
def test_coordinates_do_not_correlate_and_have_their_moments(features: Tensor) -> None:
    found = decompose_features(features)
    assert found.coordinates is not None
    coordinates = found.coordinates[:, :-1].double()
    moments = coordinates.T @ coordinates / len(features)
    largest = float(found.moments[:-1].max()) if len(found.moments) > 1 else 1.0
    torch.testing.assert_close(moments, found.moments[:-1].double().diag(), rtol=1e-3, atol=1e-5 * largest)
    standard = standardise(features)[0]
    assert float(found.moments[:-1].sum()) == pytest.approx(float(standard.square().sum() / len(features)), rel=1e-2)


def test_parts_and_half_precision_are_as_good_as_one_tensor() -> None:
    features = torch.randn(300, 40, generator=torch.Generator().manual_seed(0)).half()
    whole, parts = decompose_features(features.float()), decompose_features(list(features.split(77)))
    assert whole.coordinates is not None and parts.coordinates is not None
    torch.testing.assert_close(whole.moments, parts.moments)
    torch.testing.assert_close(whole.coordinates.abs(), parts.coordinates.abs(), rtol=1e-3, atol=1e-4)


def test_features_that_never_change_leave_the_bias_alone() -> None:
    found = decompose_features(torch.full((9, 4), 7.25))
    assert found.moments.tolist() == [1.0]
    weight, bias = found.map_weights(torch.tensor([[2.5]]))
    assert weight.tolist() == [[0.0] * 4] and bias.tolist() == [2.5]
