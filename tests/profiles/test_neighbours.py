"""Neighbours answer as a plain sort says, whatever the order and the chunks, and ties share the last vote."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from tests.profiles.spaces import make_clouds, turn
from torch import Tensor

from frostline.profiles import neighbours
from frostline.profiles.neighbours import ask_neighbours, judge_samples

sizes = st.tuples(st.integers(1, 60), st.integers(1, 12), st.integers(1, 25))


def plain(train: tuple[Tensor, np.ndarray], asked_MD: Tensor, k: int) -> np.ndarray:
    """Return the mean of the columns of the k nearest by cosine [M, W], ties at the last place shared, row by row."""
    rows = train[0].double().numpy()
    found = []
    for query in asked_MD.double().numpy():
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
        similar = np.divide(rows @ query, lengths, out=np.zeros(len(rows)), where=lengths > 0)
        last = np.sort(similar)[::-1][min(k, len(rows)) - 1]
        weights = np.where(similar > last + 1e-6, 1.0, 0.0)
        tied = np.abs(similar - last) <= 1e-6
        weights[tied] = (min(k, len(rows)) - weights.sum()) / tied.sum()
        found.append(weights @ train[1] / min(k, len(rows)))
    return np.array(found)


@given(sizes, st.integers(0, 20), st.booleans())
@settings(max_examples=40)
def test_they_answer_as_a_plain_sort_does(sizes: tuple[int, int, int], seed: int, doubled: bool) -> None:
    samples, width, k = sizes
    features, labels = make_clouds(samples, width, seed=seed)
    if doubled:
        features = features.repeat(2, 1)
        labels = torch.cat([labels, labels.flip(0)])
    asked, _ = make_clouds(9, width, seed=seed + 1)
    columns = torch.nn.functional.one_hot(labels, 3).float()
    expected = plain((features, columns.numpy()), asked, k)
    classes = ask_neighbours((features, labels), asked, k, classes=3)
    assert classes.k == min(k, len(features)) and classes.classes is not None
    assert classes.outputs.numpy() == pytest.approx(expected, abs=1e-5)
    assert classes.outputs.sum(dim=1).numpy() == pytest.approx(np.ones(9), abs=1e-5)
    most = expected.max(axis=1)
    assert (expected[np.arange(9), classes.classes.numpy()] > most - 1e-5).all()
    tags = ask_neighbours((features, columns), asked, k)
    assert tags.classes is None and tags.outputs.numpy() == pytest.approx(expected, abs=1e-5)


@given(sizes, st.integers(0, 20), st.floats(1e-3, 1e3))
@settings(max_examples=25)
def test_order_chunks_turns_and_lengths_do_not_show(sizes: tuple[int, int, int], seed: int, scale: float) -> None:
    samples, width, k = sizes
    features, labels = make_clouds(samples, width, seed=seed)
    features, labels = features.repeat(2, 1), labels.repeat(2)
    asked, _ = make_clouds(7, width, seed=seed + 1)
    first = ask_neighbours((features, labels), asked, k, classes=3)
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "ROWS", 5)
        chunked = ask_neighbours((features, labels), asked, k, classes=3, cells=10)
    others = [chunked, ask_neighbours((features[order], labels[order]), asked, k, classes=3)]
    others += [ask_neighbours((features * scale, labels), asked / scale, k, classes=3)]
    for other in others:
        assert other.outputs.numpy() == pytest.approx(first.outputs.numpy(), abs=1e-5)
    turned = ask_neighbours((turn(features.double()), labels), turn(asked.double()), k, classes=3)
    near = (turned.outputs - first.outputs).abs().amax(dim=1) < 1e-4
    assert near.float().mean() > 0.8  # rounding may part what was all but tied


def test_where_nothing_is_tied_they_are_scikit_learns() -> None:
    every, real = make_clouds(250, 8)
    features, labels, asked, real = every[:200], real[:200], every[200:], real[200:]
    theirs = KNeighborsClassifier(7, metric="cosine").fit(features.numpy(), labels.numpy())
    found = ask_neighbours((features, labels), asked, 7)
    assert found.outputs.numpy() == pytest.approx(theirs.predict_proba(asked.numpy()), abs=1e-6)
    numbers = features[:, :2] ** 2
    fitted = KNeighborsRegressor(7, metric="cosine").fit(features.numpy(), numbers.numpy())
    said = ask_neighbours((features, numbers), asked, 7).outputs
    assert said.numpy() == pytest.approx(fitted.predict(asked.numpy()), abs=1e-5)
    assert found.classes is not None
    first, second = found.outputs.topk(2).values.T
    said = torch.from_numpy(theirs.predict(asked.numpy()))
    alone = first > second + 1e-6  # of a tie they take the first class
    assert alone.sum() > 40 and (found.classes == said)[alone].all()
    right = judge_samples(found.classes, real)
    assert right.dtype == torch.bool and 0.5 < float(right.float().mean()) < 1


def test_a_tied_vote_goes_to_the_nearer_class() -> None:
    angles = torch.tensor([5.0, 30.0, 10.0, 12.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    asked = torch.tensor([[1.0, 0.0]])
    assert ask_neighbours((features, torch.tensor([1, 1, 0, 0])), asked, 4).classes == torch.tensor([0])
    assert ask_neighbours((features, torch.tensor([0, 0, 1, 1])), asked, 4).classes == torch.tensor([1])
    same = torch.ones(4, 2)
    assert ask_neighbours((same, torch.tensor([2, 2, 0, 0])), asked, 1).classes == torch.tensor([0])


def test_samples_that_are_all_zero_and_half_precision_are_answered() -> None:
    features, labels = make_clouds(30, 4)
    nowhere = ask_neighbours((features, labels), torch.zeros(2, 4), 5)
    assert nowhere.outputs.numpy() == pytest.approx(np.full((2, 3), 1 / 3), abs=1e-6)
    half = ask_neighbours((features.half(), labels), features.half(), 1)
    assert half.classes is not None and half.classes.tolist() == labels.tolist()
    assert ask_neighbours((features, labels), torch.empty(0, 4), 5).outputs.shape == (0, 3)


def test_samples_are_judged_by_what_their_labels_are() -> None:
    tags = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    said = torch.tensor([[0.9, 0.1], [0.9, 0.4], [0.2, 0.5]])
    assert judge_samples(said, tags, threshold=0.5).tolist() == [True, False, True]
    numbers = torch.tensor([1.0, -2.0], dtype=torch.float64)
    assert judge_samples(torch.tensor([[1.5], [-2.0]]), numbers).tolist() == [0.5, 0.0]
    assert not any(math.isnan(value) for value in judge_samples(said, tags).tolist())
