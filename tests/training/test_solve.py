"""The solved head: the optimum of logistic regression, by scikit-learn's own word and against gradient steps."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from tests.configs import make
from torch import Tensor, nn
from torch.nn import functional

from frostline.heads import Linear
from frostline.training.solve import PENALTIES, solve_head

Part = tuple[Tensor, Tensor]


def digits(classes: int = 10, train: int = 300) -> tuple[Part, Part]:
    """Train and validation digits as 64 features, of different scales."""
    features, labels = map(np.asarray, load_digits(n_class=classes, return_X_y=True))
    order = np.random.default_rng(0).permutation(len(labels))[: train + 200]
    scaled = torch.tensor(features * np.logspace(-0.5, 0.5, 64) + 5.0, dtype=torch.float32)[order]
    chosen = torch.tensor(labels)[order]
    return (scaled[:train], chosen[:train]), (scaled[train:], chosen[train:])


def logits(head: nn.Module, features: Tensor) -> Tensor:
    with torch.no_grad():
        return head.eval()(features)


def centred(values: Tensor) -> Tensor:
    """Logits up to a constant for each sample, which changes no probability."""
    return values - values.mean(dim=1, keepdim=True)


def standardised(train: Part, features: Tensor) -> np.ndarray:
    variance, mean = torch.var_mean(train[0].double(), dim=0, correction=0)
    return ((features.double() - mean) / variance[variance > 0].mean().sqrt()).numpy()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_head_is_at_the_optimum_of_the_chosen_penalty(classes: int) -> None:
    train, validation = digits(classes)
    head = Linear(64, classes, solver="lbfgs", dropout=0.0)
    solution = solve_head(head, make("task/multiclass", label_smoothing=0.0), train, validation)
    assert solution.penalty in PENALTIES and tuple(solution.losses) == PENALTIES[: len(solution.losses)]
    assert solution.losses[solution.penalty] == min(solution.losses.values())
    model = LogisticRegression(C=1 / (solution.penalty * len(train[1])), max_iter=5000, tol=1e-8)
    model.fit(standardised(train, train[0]), train[1].numpy())
    decision = torch.tensor(model.decision_function(standardised(train, validation[0])), dtype=torch.float32)
    theirs = torch.stack([-decision, decision], dim=1) / 2 if classes == 2 else decision
    ours = logits(head, validation[0])
    torch.testing.assert_close(centred(ours), centred(theirs), rtol=0.01, atol=0.1)  # float32 against float64
    torch.testing.assert_close(ours.softmax(1), theirs.softmax(1), rtol=0, atol=0.005)
    found = float(functional.cross_entropy(ours, validation[1]))
    assert found == pytest.approx(solution.losses[solution.penalty], abs=1e-4)


def objective(head: Linear, features: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """What is minimised: the mean loss and half the penalty times the squared weights."""
    return functional.cross_entropy(head(features), labels) + penalty / 2 * head.linear.weight.square().sum()


def test_the_optimum_is_below_500_steps_of_adam() -> None:
    train, validation = digits()
    features = torch.tensor(standardised(train, train[0]), dtype=torch.float32)
    checks = torch.tensor(standardised(train, validation[0]), dtype=torch.float32)
    for penalty in (1.0, 0.03, 0.001):
        solved, stepped = Linear(64, 10, solver=None, dropout=0.0), Linear(64, 10, solver=None, dropout=0.0)
        solve_head(
            solved,
            make("task/multiclass", label_smoothing=0.0),
            (features, train[1]),
            (checks, validation[1]),
            [penalty],
        )
        optimizer = torch.optim.Adam(stepped.parameters(), lr=0.02)
        for _ in range(500):
            optimizer.zero_grad()
            objective(stepped, features, train[1], penalty).backward()
            optimizer.step()
        with torch.no_grad():
            best, reached = (objective(head, features, train[1], penalty) for head in (solved, stepped))
        assert best <= reached + 1e-4, penalty


def test_features_that_never_change_do_no_harm() -> None:
    (features, labels), validation = digits(3)
    plain, padded = Linear(64, 3, solver=None, dropout=0.0), Linear(67, 3, solver=None, dropout=0.0)
    solve_head(plain, make("task/multiclass", label_smoothing=0.0), (features, labels), validation)
    constant = torch.tensor([0.0, 3.3, 1234.567])

    def pad(values: Tensor) -> Tensor:
        return torch.cat([values, constant.expand(len(values), 3)], dim=1)

    solution = solve_head(
        padded,
        make("task/multiclass", label_smoothing=0.0),
        (pad(features), labels),
        (pad(validation[0]), validation[1]),
    )
    assert padded.linear.weight.detach()[:, 64:].abs().max() < 1
    torch.testing.assert_close(logits(padded, pad(validation[0])), logits(plain, validation[0]), rtol=0.02, atol=0.02)
    assert solution.losses[solution.penalty] < 0.2


def test_solving_twice_gives_the_same_bits() -> None:
    train, validation = digits()
    one, other = Linear(64, 10, solver=None, dropout=0.0), Linear(64, 10, solver=None, dropout=0.0)
    nn.init.normal_(other.linear.weight)
    task = make("task/multiclass", label_smoothing=0.0)
    assert solve_head(one, task, train, validation) == solve_head(other, task, train, validation)
    assert torch.equal(one.linear.weight, other.linear.weight) and torch.equal(one.linear.bias, other.linear.bias)


@pytest.mark.parametrize("weights", [None, "balanced"])
def test_several_classes_a_sample_are_solved_one_by_one(weights: str | None) -> None:
    (features, digit), (checks, other) = digits()
    task, classes = make("task/multilabel", class_weights=weights), ["even", "small", "always"]

    def tags(labels: Tensor) -> Tensor:
        return torch.stack([labels % 2 == 0, labels < 3, labels >= 0], dim=1).float()

    task.fit(tags(digit), classes)
    head = Linear(64, 3, solver=None, dropout=0.0)
    solution = solve_head(head, task, (features, tags(digit)), (checks, tags(other)))
    inverse = 1 / (solution.penalty * len(digit))
    train = features, digit
    for place in (0, 1):
        model = LogisticRegression(C=inverse, max_iter=5000, tol=1e-8, class_weight=weights)
        odds = tags(digit)[:, place]
        if weights:  # scikit-learn's balanced weights have a mean of 1, ours leave those without the class at 1
            model.C *= float((1 - odds).sum() / len(odds) * 2)
        model.fit(standardised(train, features), odds.numpy())
        theirs = torch.tensor(model.predict_proba(standardised(train, checks))[:, 1], dtype=torch.float32)
        torch.testing.assert_close(logits(head, checks)[:, place].sigmoid(), theirs, rtol=0, atol=0.005)
    assert (logits(head, checks)[:, 2] > 5).all(), "what every training sample has is expected of all"
    found = float(task.deviance(logits(head, checks), tags(other)))
    assert found == pytest.approx(solution.losses[solution.penalty], abs=1e-4)


def test_numbers_are_solved_by_ridge_regression() -> None:
    (features, labels), (checks, other) = digits()
    task, head = make("task/regression"), Linear(64, 1, solver=None, dropout=0.0)
    numbers = labels.float() * 100 + 7
    task.fit(numbers, [])
    solution = solve_head(head, task, (features, numbers), (checks, other.float() * 100 + 7))
    model = Ridge(alpha=solution.penalty * len(labels))
    model.fit(standardised((features, labels), features), numbers.numpy())
    theirs = torch.tensor(model.predict(standardised((features, labels), checks)), dtype=torch.float32)
    ours = logits(head, checks)[:, 0] * task.deviation + task.mean
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0.1)
    assert task.scores(logits(head, checks), other.float() * 100 + 7)["r2"] > 0.4
