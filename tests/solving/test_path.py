"""Solved problems are at their optimum, whatever the features, the samples' weights, and what is solved beside them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from tests.solving.shapes import (
    blobs,
    feature_sets,
    find_gradient,
    labels,
    mean_cross_entropy,
    mean_logistic,
    standardise,
)
from torch import Tensor

from frostline.solving.decompose import decompose_features
from frostline.solving.path import Question, Solved, solve_path
from frostline.solving.validate import draw_resamplings
from frostline.tasks.base import SolverKind

PENALTIES = [1.0, 0.1, 0.01]
usual = settings(max_examples=40, deadline=None, derandomize=True)


def check_optimum(features: Tensor, found: tuple[Tensor, Tensor], penalty: float, loss: Any) -> None:
    """Hold weights and biases to the tolerance that the solver gives, and to what single precision leaves."""
    length, weights = find_gradient(features, found, penalty, loss)
    standard, mean, spread = standardise(features)
    noise = 1e-6 * float(standard.norm()) + 1e-6 * float((mean / spread).norm())
    assert length <= 1e-2 * weights + noise + 1e-5, (penalty, length, weights)


@usual
@given(st.data(), feature_sets(), st.integers(3, 5))
def test_several_classes_are_at_the_optimum(data: st.DataObject, features: Tensor, classes: int) -> None:
    targets = data.draw(labels(len(features), classes))
    importance = data.draw(st.sampled_from([None, torch.linspace(0.1, 3, len(features))]))
    decomposition = decompose_features(features)
    question = Question("multinomial", targets, classes, importance=importance)
    share = torch.ones(len(features)) / len(features) * (1 if importance is None else importance)
    for solved in solve_path(decomposition, question, PENALTIES):
        found = decomposition.map_weights(solved.weights[0])
        check_optimum(features, found, solved.penalty, mean_cross_entropy(targets, share))


@usual
@given(st.data(), feature_sets())
def test_any_number_of_classes_are_at_their_optima(data: st.DataObject, features: Tensor) -> None:
    targets = torch.stack([data.draw(labels(len(features), 2)) for _ in range(3)], dim=1)
    importance = torch.where(targets > 0, torch.tensor([0.5, 1.0, 20.0]), torch.ones(1))
    decomposition = decompose_features(features)
    question = Question("one_vs_rest", targets.float(), 3, importance=importance)
    for solved in solve_path(decomposition, question, PENALTIES):
        weight, bias = decomposition.map_weights(solved.weights[0])
        for place in range(3):
            loss = mean_logistic(targets[:, place], importance[:, place] / len(features))
            check_optimum(features, (weight[place : place + 1], bias[place : place + 1]), solved.penalty, loss)


@usual
@given(feature_sets(), st.integers(0, 100))
def test_numbers_are_at_the_closed_form(features: Tensor, seed: int) -> None:
    targets = torch.randn(len(features), 2, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    decomposition = decompose_features(features)
    assert decomposition.coordinates is not None
    known = decomposition.coordinates[:, :-1].double()
    for solved in solve_path(decomposition, Question("ridge", targets, 2), PENALTIES, tolerance=1e-4):
        gram = known.T @ known / len(known) + solved.penalty * torch.eye(known.shape[1])
        expected = torch.linalg.solve(gram, known.T @ (targets.double() - targets.double().mean(dim=0)) / len(known))
        torch.testing.assert_close(solved.weights[0, :, :-1].double(), expected.T, rtol=1e-2, atol=1e-3)
        assert solved.passes <= 8, "without subsets the conjugate gradients have the Hessian itself"


@pytest.mark.parametrize("classes", [2, 4])
def test_resampled_samples_count_as_often_as_they_are_drawn(classes: int) -> None:
    features, targets = blobs(classes)
    counts = draw_resamplings(len(features), 3, 7)
    decomposition = decompose_features(features)
    standard = standardise(features)[0].numpy()
    for solved in solve_path(decomposition, Question("multinomial", targets, classes, counts), [0.3, 0.03]):
        weight, bias = decomposition.map_weights(solved.weights)
        for subset in range(3):
            model = LogisticRegression(C=1 / (solved.penalty * len(features)), max_iter=5000, tol=1e-8)
            model.fit(standard, targets.numpy(), counts[subset].numpy())
            theirs = torch.tensor(model.predict_proba(standard), dtype=torch.float32)
            ours = (features @ weight[subset].T + bias[subset]).softmax(dim=1)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0.005)


def solve_all(counts: Tensor | None, kind: SolverKind = "multinomial", memory: int = 2**28) -> list[Solved]:
    features, targets = blobs()
    wide = targets if kind == "multinomial" else torch.nn.functional.one_hot(targets).float()
    decomposition = decompose_features(features, memory)
    return list(solve_path(decomposition, Question(kind, wide, 4, counts), PENALTIES))


@pytest.mark.parametrize("kind", ["multinomial", "one_vs_rest", "ridge"])
def test_a_solution_does_not_depend_on_what_is_solved_beside_it(kind: SolverKind) -> None:
    counts = draw_resamplings(120, 5, 3)
    together = solve_all(counts, kind)
    assert all(map(torch.equal, *([one.weights for one in found] for found in (together, solve_all(counts, kind)))))
    for subset in range(5):
        for one, beside in zip(solve_all(counts[subset : subset + 1], kind), together, strict=True):
            length = float(one.weights.norm())
            torch.testing.assert_close(one.weights[0], beside.weights[subset], rtol=0, atol=5e-3 * length)


@pytest.mark.parametrize("kind", ["multinomial", "one_vs_rest", "ridge"])
def test_coordinates_that_are_not_kept_give_the_same(kind: SolverKind) -> None:
    features, _ = blobs()
    assert decompose_features(features, 0).coordinates is None
    for kept, streamed in zip(solve_all(None, kind), solve_all(None, kind, memory=0), strict=True):
        torch.testing.assert_close(kept.weights, streamed.weights, rtol=0, atol=5e-3 * float(kept.weights.norm()))


def test_a_class_that_a_subset_lacks_is_answered_for_by_what_is_there() -> None:
    features, targets = blobs()
    counts = torch.stack([(targets != 0).float(), torch.ones(120)])
    decomposition = decompose_features(features)
    for solved in solve_path(decomposition, Question("multinomial", targets, 4, counts), PENALTIES):
        weight, bias = decomposition.map_weights(solved.weights)
        assert weight.isfinite().all() and bias.isfinite().all()
        assert (features @ weight[0].T + bias[0]).softmax(dim=1)[:, 0].max() < 0.01
    odds = torch.stack([targets == 0, targets >= 0], dim=1).float()
    for solved in solve_path(decomposition, Question("one_vs_rest", odds, 2, counts), PENALTIES):
        weight, bias = decomposition.map_weights(solved.weights)
        assert weight[0].abs().max() == 0 and weight[1, 0].abs().max() > 0
        assert bias[0].tolist() == pytest.approx([np.log(0.5 / 90.5), np.log(90.5 / 0.5)], rel=1e-5)
