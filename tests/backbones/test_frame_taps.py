"""Taps of sequences, pooled or of each frame: the same from the cache and live, and gradients reach them."""

from collections.abc import Sequence

import pytest
import torch
from tests.sequences import Numbers, Tiny, tiny
from torch import Tensor

from frostline.backbones.base import FEATURES, Backbone, Cut
from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.cuts import find_cuts
from frostline.backbones.taps import JoinedTaps, PooledPrefix, Tap, choose_taps, find_taps
from frostline.data.inputs import Inputs, Ragged, take_real
from frostline.data.sending import Tapped
from frostline.errors import UserError

KINDS = ("texts", "frames")
SIZE = 10


def build(kind: str) -> Backbone:
    return tiny("none" if kind == "frames" else "mean")


def store(backbone: Backbone, inputs: Inputs, outputs: Sequence[Cut]) -> dict[str, Inputs]:
    """Return what the cache would hold of a batch, by the names of the cuts."""
    values = PooledPrefix(backbone, outputs)(inputs)
    return {one.cut if isinstance(one, Tap) else one.name: value for one, value in zip(outputs, values, strict=True)}


def run_live(backbone: Backbone, inputs: Inputs, taps: Sequence[Tap]) -> Tensor:
    """Return all taps, of real positions alone, by running the network."""
    with torch.no_grad():
        return take_real(JoinedTaps(backbone, taps, None, [])(inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_of_all_depths_is_what_they_are_live(kind: str) -> None:
    backbone = build(kind).eval()
    inputs, taps = backbone.example(4, SIZE), find_taps(backbone, SIZE)
    given = JoinedTaps(backbone, taps, None, taps)(Tapped(None, store(backbone, inputs, taps)))
    assert isinstance(given, Ragged) == (kind == "frames")
    assert torch.equal(take_real(given), run_live(backbone, inputs, taps))
    assert take_real(given).shape[-1] == sum(tap.width for tap in taps)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_what_trains_above_the_cut_and_no_frozen_layer(kind: str) -> None:
    """The stored activation may be a tap itself, as a block of a chain is."""
    backbone = build(kind).eval()
    inputs = backbone.example(4, SIZE)
    taps, cuts = find_taps(backbone, SIZE), find_cuts(backbone, SIZE)
    cut = next(cut for cut in cuts if cut.name == taps[-3].cut)
    depth = {one.name: place for place, one in enumerate(cuts)}
    below = [tap for tap in taps if depth[tap.cut] <= depth[cut.name]]
    held = store(backbone, inputs, below)
    (activation,) = PooledPrefix(backbone, [cut])(inputs)
    given = JoinedTaps(backbone, taps, cut, below)(Tapped(activation, held))
    assert torch.equal(take_real(given).detach(), run_live(backbone, inputs, taps))
    first = sum(tap.width for tap in below)
    take_real(given)[:, first : first + taps[-2].width].square().sum().backward()
    moved = {name for name, one in backbone.named_parameters() if one.grad is not None and one.grad.any()}
    assert moved and not moved & cut.parameters and moved <= taps[-2].parameters


def test_frames_are_tapped_where_the_features_are_frames() -> None:
    backbone = build("frames")
    taps, cuts = find_taps(backbone, 10), find_cuts(backbone, 10)
    assert [tap.label for tap in taps] == ["embeddings", "block1", "block2", "block3", FEATURES]
    for tap in taps:
        cut = next(cut for cut in cuts if cut.name == tap.cut)
        assert not tap.pooled and (tap.name, tap.shape, tap.bytes) == (cut.name, cut.shape, cut.bytes), (
            "one cache entry"
        )
    assert all(tap.pooled and tap.width == 24 for tap in find_taps(build("texts"), 10)[:-1])


class Halving(Tiny):
    """Its second block is the first one after which there are half as many frames."""

    def __init__(self) -> None:
        super().__init__()
        step = self.blocks[1].forward
        self.blocks[1].forward = lambda hidden: _halve(step(hidden))  # type: ignore[method-assign]


def _halve(hidden: Ragged) -> Ragged:
    return Ragged(hidden.values[:, ::2], (hidden.lengths + 1) // 2)


def test_depths_with_other_frames_than_the_features_are_left_out() -> None:
    backbone = SequenceBackbone(Halving(), "halving", Numbers(), "none")
    assert [tap.label for tap in find_taps(backbone, 10)] == ["block2", "block3", FEATURES]


def test_a_network_that_can_be_read_at_its_features_alone_is_named() -> None:
    with pytest.raises(UserError, match=r"^head.taps: this network can be read at its features alone; use null"):
        choose_taps(find_taps(build("texts"), SIZE)[-1:], "all")
