"""Cross-validation: what a subset leaves out is judged by what was solved without it."""

import pytest
import torch
from tests.solving.shapes import blobs

from frostline.solving.decompose import decompose_features
from frostline.solving.path import Question, measure_losses, solve_path
from frostline.solving.validate import count_folds, cross_validate_taps, draw_resamplings
from frostline.tasks.base import SolverKind

PENALTIES = [1.0, 0.1, 0.01]


@pytest.mark.parametrize("kind", ["multinomial", "one_vs_rest", "ridge"])
def test_each_fold_is_judged_by_what_was_solved_on_the_others(kind: SolverKind) -> None:
    features, labels = blobs()
    targets = labels if kind == "multinomial" else torch.nn.functional.one_hot(labels).float()
    importance = torch.linspace(0.5, 2, 120) if kind == "multinomial" else None
    folds = torch.arange(120) // 4 % 3
    question = Question(kind, targets, 4, count_folds(folds), importance)
    taps = [features, features[:, :11] * 100 + 7]
    for tap, found in zip(taps, cross_validate_taps(taps, question, PENALTIES, 1e-3), strict=True):
        for fold in range(3):
            inside, outside = folds != fold, folds == fold
            kept = None if importance is None else importance[inside]
            alone = decompose_features(tap[inside])
            for place, solved in enumerate(solve_path(decompose_features(tap), question, PENALTIES, 1e-3)):
                weight, bias = decompose_features(tap).map_weights(solved.weights[fold])
                expected = tap[outside] @ weight.T + bias
                torch.testing.assert_close(found.outputs[place, outside], expected, rtol=1e-2, atol=1e-2)
                left = None if importance is None else importance[outside]
                loss = measure_losses(kind, expected, targets[outside], left).mean()
                assert float(found.losses[place, fold]) == pytest.approx(float(loss), rel=1e-2)
            plain = Question(kind, targets[inside], 4, None, kept)
            for place, solved in enumerate(solve_path(alone, plain, PENALTIES, 1e-3)):
                weight, bias = alone.map_weights(solved.weights[0])
                outputs = tap[outside] @ weight.T + bias  # the scale is that of fewer samples, hence the tolerance
                torch.testing.assert_close(found.outputs[place, outside], outputs, rtol=0.1, atol=0.15)


def test_weights_are_those_of_all_samples_and_what_no_resampling_leaves_out_has_no_outputs() -> None:
    features, labels = blobs()
    counts = draw_resamplings(120, 4, 0)
    assert counts.sum(dim=1).tolist() == [120] * 4
    (found,) = cross_validate_taps([features], Question("multinomial", labels, 4, counts), PENALTIES)
    assert found.outputs.shape == (3, 120, 4) and found.losses.shape == (3, 4) and found.losses.isfinite().all()
    assert torch.equal(found.outputs.isnan().any(dim=2).any(dim=0), (counts > 0).all(dim=0))
    whole = decompose_features(features)
    for place, solved in enumerate(solve_path(whole, Question("multinomial", labels, 4), PENALTIES)):
        weight, _ = whole.map_weights(solved.weights[0])
        torch.testing.assert_close(found.weights[place], weight, rtol=0, atol=1e-2 * float(weight.norm()))
    assert found.biases.shape == (3, 4)
