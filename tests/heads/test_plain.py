"""Heads: their shapes, their starts, and which of them can be solved."""

import math

import pytest
import torch
from tests.configs import make
from torch import nn
from torch.nn import functional

from frostline.errors import UserError

HEADS = ("linear", "mlp", "cosine")


@pytest.mark.parametrize("name", HEADS)
def test_features_become_logits_and_gradients_flow(name: str) -> None:
    torch.manual_seed(0)
    head = make(f"head/{name}", features=12, classes=5, solver=None)
    logits = head(torch.randn(7, 12))
    assert logits.shape == (7, 5) and isinstance(head, nn.Module) and head.solver is None
    functional.cross_entropy(logits, torch.arange(7) % 5).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("classes", [2, 10])
def test_a_linear_head_starts_undecided(classes: int) -> None:
    with torch.no_grad():
        logits = make("head/linear", features=12, classes=classes)(torch.randn(9, 12))
    assert float(functional.cross_entropy(logits, torch.zeros(9, dtype=torch.long))) == pytest.approx(math.log(classes))


def test_the_cosine_head_looks_at_directions_alone() -> None:
    torch.manual_seed(0)
    head = make("head/cosine", features=12, classes=3, scale=8.0)
    features = torch.randn(6, 12)
    torch.testing.assert_close(head(features), head(100 * features))
    with torch.no_grad():
        assert head(head.weight).diagonal().tolist() == pytest.approx([8.0] * 3)
        assert head(features).abs().max() <= 8.0


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 12)
    for name in ("linear", "mlp"):
        head = make(f"head/{name}", features=12, classes=3, dropout=0.5)
        nn.init.normal_(next(iter(head.parameters())))
        assert not torch.equal(head.train()(features), head(features))
        assert torch.equal(head.eval()(features), head(features))


def test_only_a_linear_head_can_be_solved() -> None:
    assert make("head/linear", features=4, classes=2, solver="lbfgs").solver == "lbfgs"
    for name in ("mlp", "cosine"):
        with pytest.raises(UserError, match=f"head.solver: 'lbfgs' solves a linear head only; .* head={name}"):
            make(f"head/{name}", features=4, classes=2, solver="lbfgs")
    for name in HEADS:
        with pytest.raises(UserError, match="head.solver: 'newton' is not known; choose one of: null, lbfgs"):
            make(f"head/{name}", features=4, classes=2, solver="newton")


def test_taps_are_given_their_shares_of_the_variance() -> None:
    taps = torch.randn(50, 9, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 7, 7, 7, 3, 3, 3, 3, 3])
    head = make("head/taps", features=9, classes=2, widths=[1, 3, 5], frames=False)
    scaling = head.scaling
    scaling.fit([taps])
    scaling.weigh(torch.tensor([0.0, 0.25, 0.75]))
    each = [float(part.var(dim=0, correction=0).sum()) for part in scaling(taps).split([1, 3, 5], dim=1)]
    assert each == pytest.approx([0, 0.25 * 8, 0.75 * 8])  # eight numbers are read
