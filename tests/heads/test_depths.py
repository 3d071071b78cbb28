"""Heads that weigh depths: by hand they come to the same, and they start undecided."""

from typing import Any

import pytest
import torch
from tests.configs import make
from torch import Tensor, nn
from torch.nn import functional

from frostline.data.inputs import Ragged, take_values
from frostline.errors import UserError

HEADS = ("layer_mix", "attentive")
EQUAL, UNLIKE = [8, 8, 8], [4, 12, 8]


def build(name: str, widths: list[int], frames: bool = False, **options: object) -> Any:
    """Return a head whose last layer is a random one, so that it says something."""
    torch.manual_seed(0)
    head = make(f"head/{name}", features=sum(widths), classes=3, widths=widths, frames=frames, **options)
    with torch.no_grad():
        assert not take_values(
            head(Ragged(torch.ones(1, 2, sum(widths)), torch.tensor([2])) if frames else draw())
        ).any()
    nn.init.normal_(head.linear.weight)
    return head.eval()


def draw(samples: int = 5) -> Tensor:
    return torch.randn(samples, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("widths", [EQUAL, UNLIKE])
@pytest.mark.parametrize("name", HEADS)
def test_every_weight_learns(name: str, widths: list[int]) -> None:
    head = build(name, widths)
    logits = head(draw())
    assert logits.shape == (5, 3)
    functional.cross_entropy(logits, torch.arange(5) % 3).backward()
    assert all(one.grad is not None and one.grad.any() for one in head.parameters())


def test_equal_widths_are_mixed_as_they_are_and_evenly_at_first() -> None:
    head, taps = build("layer_mix", EQUAL), draw()
    parts = torch.stack(taps.split(8, dim=1))
    torch.testing.assert_close(head(taps), parts.mean(dim=0) @ head.linear.weight.T)
    with torch.no_grad():
        head.mix.copy_(torch.tensor([0.5, 0.25, 0.25]).log())
    torch.testing.assert_close(
        head(taps), (torch.tensor([0.5, 0.25, 0.25]) @ parts.transpose(0, 1)) @ head.linear.weight.T
    )
    assert head.describe(["a", "b", "c"]) == ["head=layer_mix gave each depth this weight: a 0.500, b 0.250, c 0.250."]


@pytest.mark.parametrize(("widths", "width", "expected"), [(EQUAL, None, 8), (UNLIKE, None, 8), (EQUAL, 5, 5)])
def test_depths_are_projected_to_one_width_where_they_do_not_have_it(
    widths: list[int], width: int | None, expected: int
) -> None:
    head = build("layer_mix", widths, width=width)
    assert head.linear.in_features == expected
    assert bool(list(head.projections.parameters())) == (set(widths) != {expected})


def test_frames_are_mixed_one_by_one_and_padding_counts_for_nothing() -> None:
    """Each depth is normalised within its frame: no statistics of a whole corpus of frames are needed."""
    head = build("layer_mix", UNLIKE, frames=True)
    values, lengths = torch.randn(2, 6, 24), torch.tensor([6, 3])
    answers = head(Ragged(values, lengths))
    assert isinstance(answers, Ragged) and answers.values.shape == (2, 6, 3) and torch.equal(answers.lengths, lengths)
    normed = [(part - part.mean(-1, keepdim=True)) for part in values.split(UNLIKE, dim=-1)]
    normed = [part / (part.square().mean(-1, keepdim=True) + 1e-5).sqrt() for part in normed]
    mixed = sum(project(part) for project, part in zip(head.projections, normed, strict=True)) / 3
    torch.testing.assert_close(answers.values, head.linear(mixed))
    alone = head(Ragged(values[1:, :3], lengths[1:]))
    torch.testing.assert_close(alone.values, answers.values[1:, :3])


def test_attention_is_that_of_its_heads_one_by_one() -> None:
    head, taps = build("attentive", UNLIKE, width=16, heads=4), draw()
    each = [project(part) for project, part in zip(head.projections, taps.split(UNLIKE, dim=1), strict=True)]
    depths = torch.stack(each, dim=1) + head.depths
    found = []
    for place in range(4):
        own = slice(4 * place, 4 * place + 4)
        scores = head.keys(depths)[..., own] @ head.query[place, 0] / 2
        found.append((scores.softmax(dim=1)[..., None] * head.values(depths)[..., own]).sum(dim=1))
    torch.testing.assert_close(head(taps), head.linear(torch.cat(found, dim=1)))


@pytest.mark.parametrize("name", HEADS)
def test_taps_are_scaled_before_they_are_weighed(name: str) -> None:
    head, taps = build(name, UNLIKE), draw()
    assert head.scaling is not None
    head.scaling.fit([taps])
    large = taps * torch.tensor([1000.0, 0.01, 30.0]).repeat_interleave(torch.tensor(UNLIKE)) + 7
    before = head(taps)
    head.scaling.fit([large])
    torch.testing.assert_close(head(large), before, atol=1e-2, rtol=1e-2)


def test_mistakes_are_named() -> None:
    for name in HEADS:
        with pytest.raises(
            UserError, match=f"head.solver: 'lbfgs' solves a linear head only; use null with head={name}"
        ):
            build(name, EQUAL, solver="lbfgs")
    with pytest.raises(UserError, match=r"head.heads: 3 is invalid: expected a number that divides head.width, 16\.$"):
        build("attentive", EQUAL, width=16, heads=3)
    with pytest.raises(UserError, match="head.width"):
        build("layer_mix", EQUAL, width=0)
