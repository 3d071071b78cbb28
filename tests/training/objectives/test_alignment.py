"""The distance that ORCA's first phase makes smaller, and a run whose first phase does so."""

import math
from typing import cast

import pytest
import torch
from tests import configs
from tests.tuners import make_tuner
from torch import Tensor, nn

from frostline.backbones.adapters.base import Adapter
from frostline.backbones.adapters.frames import Rows
from frostline.data.inputs import Inputs
from frostline.errors import UserError
from frostline.freeze.plan import Phase, Train
from frostline.heads import Linear
from frostline.training.objectives.alignment import MOST, WIDTHS, discrepancy, distance_to, draw_rows


def sample(count: int, mean: float = 0.0, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)) + mean


def distance(one: Tensor, other: Tensor) -> Tensor:
    return discrepancy(one, torch.ones(len(one), dtype=torch.bool), other)


def by_hand(one: Tensor, other: Tensor) -> float:
    """The same distance, pair by pair."""
    rows = [*one, *other]
    apart = [[float((a - b).square().sum()) for b in rows] for a in rows]
    scale = sum(map(sum, apart)) / (len(rows) * (len(rows) - 1))
    kernel = [[sum(math.exp(-d / (w * scale)) for w in WIDTHS) / len(WIDTHS) for d in row] for row in apart]
    n, m = len(one), len(other)
    first, second = range(n), range(n, n + m)
    within = sum(kernel[i][j] for i in first for j in first if i != j) / (n * (n - 1))
    within += sum(kernel[i][j] for i in second for j in second if i != j) / (m * (m - 1))
    return within - 2 * sum(kernel[i][j] for i in first for j in second) / (n * m)


def test_the_distance_is_that_of_gretton() -> None:
    one, other = sample(6), sample(9, mean=0.7, seed=1)
    assert float(distance(one, other)) == pytest.approx(by_hand(one, other), abs=1e-6)


def test_it_is_0_in_the_mean_for_samples_that_are_alike_and_grows_with_their_means() -> None:
    alike = [float(distance(sample(60, seed=2 * k), sample(60, seed=2 * k + 1))) for k in range(30)]
    assert abs(sum(alike) / 30) < 0.004 and min(alike) < 0 < max(alike)
    apart = [float(distance(sample(60), sample(60, mean, seed=1))) for mean in (0.5, 1.0, 2.0)]
    assert max(alike) < apart[0] < apart[1] < apart[2]


def test_it_sees_what_the_mean_alone_does_not() -> None:
    assert float(distance(sample(200), 3 * sample(200, seed=1))) > 0.05


def test_no_more_rows_than_are_paid_for() -> None:
    rows = torch.arange(2.0 * MOST)[:, None]
    real = torch.ones(len(rows), dtype=torch.bool)
    assert len(draw_rows(rows, real)[0].unique()) == MOST and torch.equal(draw_rows(rows[:5], real[:5])[0], rows[:5])


def test_padding_counts_for_nothing() -> None:
    """Not where all rows are taken, nor where some are drawn: it comes after all that is real."""
    one, other = sample(6), sample(9, mean=0.7, seed=1)
    real = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1, 1], dtype=torch.bool)
    longer = torch.full((9, 3), 50.0).masked_scatter(real[:, None], one)
    assert float(discrepancy(longer, real, other)) == pytest.approx(by_hand(one, other), abs=1e-6)
    rows, few = torch.arange(3.0 * MOST)[:, None], torch.arange(3 * MOST) % 7 == 0
    taken, kept = draw_rows(rows, few)
    assert set(rows[few].flatten().tolist()) == set(taken[kept].flatten().tolist()), "all 220 that there are"


class Shift(Adapter):
    """An adapter that can only move what comes in."""

    def __init__(self) -> None:
        super().__init__({})
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.shift

    def vectors(self, outputs: Inputs) -> Tensor:
        return cast(Tensor, outputs)

    def own_features(self) -> Tensor:
        return sample(300, mean=2.0)


def test_an_adapter_that_follows_the_gradient_comes_to_what_the_network_knows() -> None:
    adapter = Shift()
    known = adapter.own_features()
    optimizer = torch.optim.Adam(adapter.parameters(), 0.05)
    first = float(distance_to(known, adapter, sample(300, seed=1)).detach())
    for step in range(150):
        optimizer.zero_grad()
        distance_to(known, adapter, sample(300, seed=step)).backward()
        optimizer.step()
    assert float(distance_to(known, adapter, sample(300, seed=1)).detach()) < first / 50
    torch.testing.assert_close(adapter.shift.detach(), torch.full((3,), 2.0), atol=0.2, rtol=0)


def test_it_is_as_exact_under_mixed_precision() -> None:
    adapter, inputs = Shift(), sample(300, mean=1.9, seed=1)
    exact = float(distance_to(adapter.own_features(), adapter, inputs).detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = distance_to(adapter.own_features(), adapter, inputs)
    assert float(found.detach()) == pytest.approx(exact, abs=1e-6)


def test_a_network_of_which_nothing_is_known_is_refused() -> None:
    backbone = configs.make("backbone/voice_encoder", weights="none", seconds=0.3)
    backbone.attach(Rows(backbone=backbone, size=16, source=None))
    module = make_tuner(backbone, Linear(backbone.num_features, 3, solver=None, dropout=0.0))
    with pytest.raises(UserError, match="^freeze=orca aligns .* no table of embeddings"):
        module.enter(Phase("align", 1, {"adapter": Train()}, "align"), 0, backbone)
