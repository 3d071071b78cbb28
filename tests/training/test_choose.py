"""The choice of depths: what is noise is not read, what helps is, and small samples are no reason to fail."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tests.configs import make
from torch import Tensor

from frostline.heads import Taps
from frostline.solving.rows import join_columns, make_rows
from frostline.tasks.base import Task
from frostline.training.choose import Choice, list_unions, solve_chosen
from frostline.training.leave_out import Samples, draw_few, draw_folds
from frostline.training.phases import solve_splits

MULTICLASS = {"label_smoothing": 0.0}


def digits(train: int = 120, val: int = 60, test: int = 400) -> tuple[list[Tensor], Tensor, list[int]]:
    """Digits as features of two depths: their pixels' edges, and a poor summary of 8 rows, which comes last."""
    values, labels = map(np.asarray, load_digits(return_X_y=True))
    order = np.random.default_rng(0).permutation(len(labels))[: train + val + test]
    pixels = torch.tensor(values, dtype=torch.float32)[order].view(-1, 8, 8)
    return [pixels.flatten(1) * 3 + 1, pixels.sum(dim=2)], torch.tensor(labels)[order], [train, val, test]


def noise(samples: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed))


def solve(
    taps: Sequence[Tensor], labels: Tensor, sizes: Sequence[int], task: Task, outputs: int, seed: int = 0
) -> tuple[Taps, Choice, Tensor]:
    """Return the head, what was chosen, and the outputs for the last of the splits."""
    widths = [tap.shape[1] for tap in taps]
    head = Taps(sum(widths), outputs, widths, frames=False, taps="auto", solver="lbfgs", dropout=0.0)
    rows, answers = torch.cat(list(taps), dim=1).split(list(sizes)), labels.split(list(sizes))
    train, val = (Samples(make_rows(part), own) for part, own in zip(rows[:2], answers[:2], strict=True))
    _, choice = solve_chosen(head, task, train, val, seed)
    with torch.no_grad():
        return head, choice, head(rows[2])


def test_noise_is_left_out_and_the_better_depth_is_read() -> None:
    taps, labels, sizes = digits()
    taps = [noise(len(labels), 40), taps[0], noise(len(labels), 90, seed=1), taps[1]]
    head, choice, outputs = solve(taps, labels, sizes, make("task/multiclass", **MULTICLASS), 10)
    assert choice.shares[1] > 0.5 and choice.loss < choice.last - choice.error
    assert choice.shares[[0, 2]].sum() < 0.1 and float(choice.shares.sum()) == pytest.approx(1)
    assert head.scaling is not None
    unread = head.scaling.spread_factors() == 0
    assert torch.equal(head.scaling.factors > 0, choice.shares > 0) and not head.linear.weight[:, unread].any()
    assert float((outputs.argmax(dim=1) == labels[-400:]).float().mean()) > 0.86
    words = choice.describe(["early", "edges", "noise", "features"])
    assert words.startswith("head.taps=auto reads ") and "of 4 taps, by shares edges" in words


def test_the_last_layer_is_the_answer_where_nothing_is_better() -> None:
    taps, labels, sizes = digits()
    taps = [noise(len(labels), 40), noise(len(labels), 10, seed=1), taps[0]]
    head, choice, outputs = solve(taps, labels, sizes, make("task/multiclass", **MULTICLASS), 10)
    assert choice.shares.tolist() == [0, 0, 1] and choice.loss == choice.last
    assert choice.describe(["a", "b", "features"]).startswith("head.taps=auto reads the last layer alone")
    assert head.scaling is not None
    read = head.standardise(torch.cat(taps, dim=1)[: sizes[0]])[:, 50:]
    assert float(read.var(dim=0, correction=0).mean()) == pytest.approx(1, abs=1e-4)
    assert float((outputs.argmax(dim=1) == labels[-400:]).float().mean()) > 0.86


def test_a_choice_is_a_function_of_the_seed() -> None:
    taps, labels, sizes = digits()
    task = make("task/multiclass", **MULTICLASS)
    heads = [solve(taps, labels, sizes, task, 10, seed)[0] for seed in (3, 3, 4)]
    one, same, other = (head.state_dict() for head in heads)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["linear.weight"], other["linear.weight"])


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (2, 2), (1, 9), (30, 2), (3, 0)])
def test_few_samples_of_a_class_are_enough(counts: tuple[int, int]) -> None:
    """With one sample of each class none can be left out, and validation alone chooses."""
    labels = torch.cat([torch.tensor([0] * counts[0] + [1] * counts[1]), torch.arange(40) % 2])
    taps = [noise(len(labels), 6), labels[:, None] + 0.1 * noise(len(labels), 3, seed=1), noise(len(labels), 5, seed=2)]
    _, choice, outputs = solve(taps, labels, [sum(counts), 20, 20], make("task/multiclass", **MULTICLASS), 2)
    assert outputs.isfinite().all() and np.isfinite([choice.loss, choice.last, choice.error]).all()
    if min(counts) > 1:
        assert choice.shares[1] > 0.5 and torch.equal(outputs.argmax(dim=1), labels[-20:])


def test_several_labels_at_once_and_numbers_have_depths_as_well() -> None:
    wanted = noise(300, 4)
    taps = [noise(300, 20, seed=1), wanted @ noise(4, 12, seed=2), noise(300, 9, seed=3)]
    sizes = [100, 50, 150]
    labels = (wanted[:, :3] > 0).float()
    _, choice, outputs = solve(taps, labels, sizes, make("task/multilabel"), 3)
    assert choice.shares[1] > 0.8 and float(((outputs > 0) == (labels[-150:] > 0)).float().mean()) > 0.86
    task = make("task/regression")
    numbers = wanted[:, 0].double() * 7 + 100
    task.fit(numbers[:100], [])
    _, choice, outputs = solve(taps, numbers, sizes, task, 1)
    assert choice.shares[1] > 0.8 and task.scores(outputs, numbers[-150:])["r2"] > 0.99


def test_views_of_a_sample_are_left_out_together() -> None:
    """Noise of which each view is a copy would be learnt by heart, were one view left out and another not."""
    labels = torch.arange(40) % 2
    views = 3
    taps = [noise(40, 60), labels[:, None] + 0.5 * noise(40, 2, seed=1)]
    task = make("task/multiclass", **MULTICLASS)
    train = Samples(make_rows(torch.cat(taps, dim=1).repeat(views, 1)), labels.repeat(views), views)
    fresh = torch.arange(10) % 2
    val = Samples(
        make_rows(torch.cat([noise(10, 60, seed=5), fresh[:, None] + 0.5 * noise(10, 2, seed=6)], dim=1)), fresh
    )
    _, choice = solve_chosen(Taps(62, 2, [60, 2], False, "auto", "lbfgs", 0.0), task, train, val, 0)
    assert choice.shares.tolist() == [0, 1]
    few = draw_few(task, train, 2, 0)
    assert torch.equal(few.labels[:40], few.labels[40:80]) and torch.equal(
        few.features.load()[:40], few.features.load()[80:]
    )


@pytest.mark.parametrize("taps", ["all", "auto"])
def test_taps_as_they_are_stored_give_the_head_of_one_tensor(taps: str) -> None:
    """Each tap by itself is read to the bit as one tensor of all; in files of several ranks, other sums are rounded."""
    depths, labels, sizes = digits()
    depths, task = [depths[0], noise(len(labels), 12), depths[1]], make("task/multiclass", **MULTICLASS)
    answers, outputs = labels.split(sizes), []
    for cuts in ([], None, [70, 50]):
        head, splits = Taps(84, 10, [64, 12, 8], False, taps, "lbfgs", 0.0), {}
        for name, start, end in (("train", 0, 120), ("val", 120, 180)):
            each = [depth[start:end] for depth in depths]
            rows = [make_rows(tap.split(cuts if cuts and name == "train" else len(tap))) for tap in each]
            whole = make_rows(torch.cat(each, dim=1))
            splits[name] = Samples(whole if cuts is None else join_columns(rows), answers[name == "val"])
        solve_splits(head, task, splits, 0, ["a", "b", "c"])
        outputs.append(head(torch.cat(depths, dim=1)[180:]).detach())
    assert torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[2], outputs[1], rtol=1e-6, atol=1e-6 * float(outputs[1].abs().max()))


def test_folds_deal_out_each_class_and_keep_an_only_sample() -> None:
    task = make("task/multiclass", **MULTICLASS)
    folds = draw_folds(task, torch.tensor([0] * 8 + [1] * 2 + [2]), 0)
    assert torch.bincount(folds[:8]).tolist() == [2, 2, 2, 2]
    assert folds[8] != folds[9] and folds[10] == -1
    assert draw_folds(task, torch.tensor([0, 1, 2]), 0).tolist() == [-1] * 3
    assert sorted(draw_folds(task, torch.tensor([0, 0, 0]), 0).tolist()) == [0, 1, 2]


def test_many_samples_are_drawn_by_class_two_of_each_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.training.leave_out.MOST", 20)
    labels = torch.tensor([0] * 400 + [1] * 100 + [2] * 2)
    few = draw_few(make("task/multiclass", **MULTICLASS), Samples(make_rows(noise(502, 3)), labels), 3, 0)
    counts = torch.bincount(few.labels).tolist()
    assert sum(counts) == 20 and counts[2] == 2 and counts[0] > counts[1] >= 3
    taps, numbers, sizes = digits()
    _, choice, outputs = solve(taps, numbers, sizes, make("task/multiclass", **MULTICLASS), 10)
    assert choice.shares[0] > 0 and float((outputs.argmax(dim=1) == numbers[-400:]).float().mean()) > 0.85


def test_unions_are_each_tap_and_ends_of_the_network() -> None:
    assert list_unions(1) == [(0,)]
    assert list_unions(2) == [(0,), (1,), (0, 1)]
    assert list_unions(8)[8:] == [(6, 7), (4, 5, 6, 7), (2, 3, 4, 5, 6, 7), tuple(range(8))]
