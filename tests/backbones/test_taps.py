"""Taps: a network read at the end of each block, stored or live, with the same vectors and with gradients."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# (inputs are tensors here, though they could be sequences)

import pytest
import torch
from tests import configs
from tests.sequences import tiny
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import find_cuts, make_prefix
from frostline.backbones.taps import JoinedTaps, PooledPrefix, choose_taps, find_taps, make_body, pool
from frostline.data.inputs import Ragged
from frostline.data.sending import Tapped
from frostline.errors import UserError

SIZE = 32
NETWORKS = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]


def image_backbone(name: str) -> Backbone:
    torch.manual_seed(0)
    return configs.make("backbone/timm", name=name, weights="none", size=SIZE, options={})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_block_is_read_once_at_its_end_and_the_features_last(name: str) -> None:
    backbone = image_backbone(name)
    taps = find_taps(backbone, SIZE)
    labels = [tap.label for tap in taps]
    assert len(set(labels)) == len(labels) and labels[-1] == "features"
    assert taps[-1].width == backbone.num_features
    order = [cut.name for cut in find_cuts(backbone, SIZE)]
    assert [tap.cut for tap in taps] == sorted((tap.cut for tap in taps), key=order.index)
    assert all(tap.parameters for tap in taps)
    blocks = [label for label in labels if label.rpartition(".")[2].isdigit()]
    assert blocks, "each of these networks is a list of blocks"


def test_the_blocks_of_a_vision_transformer_are_its_taps() -> None:
    backbone = image_backbone("test_vit")
    depth = len(backbone.network.blocks)
    assert [f"blocks.{place}" for place in range(depth)] == [
        tap.label for tap in find_taps(backbone, SIZE) if tap.label.startswith("blocks")
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tap_is_the_mean_and_the_maximum_over_places(name: str) -> None:
    backbone = image_backbone(name)
    images = backbone.example(3, SIZE)
    for tap in find_taps(backbone, SIZE)[:-1]:
        (activation,) = make_prefix(backbone, [tap.cut])(images)
        (vector,) = PooledPrefix(backbone, [tap])(images)
        channels = tap.width // 2
        other = [dimension for dimension in range(1, activation.ndim) if dimension not in tap.places]
        moved = activation.permute(0, *tap.places, *other).reshape(3, -1, channels)
        torch.testing.assert_close(vector[:, :channels], moved.mean(dim=1))
        assert torch.equal(vector[:, channels:], moved.amax(dim=1))
        assert vector.dtype == torch.float32 and tap.bytes == 4 * tap.width


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_stored_and_live_taps_are_the_same(name: str, share: float) -> None:
    """From the inputs, from a cut with what lies below it stored, and with all of it stored."""
    backbone = image_backbone(name).eval()
    taps, images = find_taps(backbone, SIZE), backbone.example(4, SIZE)
    with torch.no_grad():
        live = make_body(backbone, taps)(images)
        depth = [cut.name for cut in find_cuts(backbone, SIZE)]
        cuts = {cut.name: cut for cut in find_cuts(backbone, SIZE)}
        place = round(share * (len(taps) - 1))
        cut = cuts[taps[place].cut]
        below = [tap for tap in taps if depth.index(tap.cut) <= depth.index(cut.name)]
        *vectors, activation = PooledPrefix(backbone, [*below, cut])(images)
        known = {tap.cut: vector for tap, vector in zip(below, vectors, strict=True)}
        joined = make_body(backbone, taps, cut, below)(Tapped(activation, known))
    assert torch.equal(joined, live) and live.shape == (4, sum(tap.width for tap in taps))


def test_what_is_above_the_cut_gets_gradients_and_what_is_below_none() -> None:
    backbone = image_backbone("test_vit")
    taps, cut = find_taps(backbone, SIZE), find_cuts(backbone, SIZE)[12]
    depth = [one.name for one in find_cuts(backbone, SIZE)]
    below = [tap for tap in taps if depth.index(tap.cut) <= depth.index(cut.name)]
    *vectors, activation = PooledPrefix(backbone, [*below, cut])(backbone.example(2, SIZE))
    known = {tap.cut: vector for tap, vector in zip(below, vectors, strict=True)}
    make_body(backbone, taps, cut, below)(Tapped(activation, known)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == (name in cut.parameters), name


def test_a_suffix_with_taps_follows_the_modes_of_the_network() -> None:
    """BatchNorm that trains normalises by the batch, behind taps as everywhere."""
    backbone = image_backbone("test_resnet")
    taps = find_taps(backbone, SIZE)
    body, images = make_body(backbone, taps), backbone.example(4, SIZE)
    backbone.eval()
    frozen = body(images)
    backbone.train()
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    assert not torch.equal(body(images), frozen)
    assert any(not torch.equal(buffer, before[name]) for name, buffer in backbone.named_buffers())
    body.eval()
    backbone.eval()
    assert isinstance(body, JoinedTaps) and body(images).shape == frozen.shape


def test_of_sequences_only_what_is_real_is_pooled() -> None:
    values = torch.tensor([[[1.0, -5.0], [3.0, -7.0], [99.0, 99.0]], [[-2.0, -3.0], [8.0, 8.0], [9.0, 9.0]]])
    batch = Ragged(values, torch.tensor([2, 1]))
    assert pool(batch, find_cuts(tiny(), 10)[0]).tolist() == [
        [2.0, -6.0, 3.0, -5.0],
        [-2.0, -3.0, -2.0, -3.0],
    ]


def test_the_blocks_of_a_chain_are_its_taps() -> None:
    backbone = tiny()
    taps = find_taps(backbone, 10)
    assert [tap.label for tap in taps] == [cut.name for cut in find_cuts(backbone, 10)]
    batch = backbone.example(3, 10)
    longer = batch.pad(15)
    body = make_body(backbone.eval(), taps)
    torch.testing.assert_close(body(batch), body(longer))


class Wayward(nn.Module):
    """A network that cannot be traced: what it does depends on its data."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)])

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images)
        for block in self.blocks:
            hidden = block(hidden) + (hidden if hidden.sum() > 0 else -hidden)
        return hidden.mean(dim=(2, 3))


def test_a_network_that_cannot_be_traced_is_read_at_its_blocks() -> None:
    backbone = configs.make("backbone/own", found=Wayward(), shape=[3, 8, 8])
    taps, images = find_taps(backbone, 8), backbone.example(5, 8)
    assert [(tap.label, tap.width) for tap in taps] == [
        ("blocks.0", 16),
        ("blocks.1", 16),
        ("blocks.2", 16),
        ("features", 8),
    ]
    hidden = backbone.network.blocks[0](backbone.network.stem(images))
    joined = make_body(backbone, taps)(images)
    torch.testing.assert_close(joined[:, :16], torch.cat([hidden.mean((2, 3)), hidden.amax((2, 3))], 1))
    torch.testing.assert_close(joined[:, -8:], backbone(images))
    joined.sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    every = frozenset(name for name, _ in backbone.named_parameters())
    assert all(tap.parameters == every for tap in taps), "what is used up to a block is not known"


def test_a_head_asks_for_taps_by_name_or_by_a_word() -> None:
    taps = find_taps(image_backbone("test_vit"), SIZE)
    assert choose_taps(taps, None) == []
    assert choose_taps(taps, "all") == choose_taps(taps, "auto") == taps
    assert choose_taps(taps, "late") == taps[len(taps) // 2 :]
    assert choose_taps(taps, ["features", "blocks.0"]) == [
        taps[[tap.label for tap in taps].index("blocks.0")],
        taps[-1],
    ]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["blocks.77"], r"head\.taps: this network has no tap 'blocks.77'; near it are blocks\.\d"),
        ("early", r"head\.taps: 'early' is invalid: expected null, late, all, auto, or a list of taps\."),
        ([], r"head\.taps: \[\] is invalid: expected"),
    ],
)
def test_taps_that_are_not_there_are_named(wanted: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_taps(find_taps(image_backbone("test_vit"), SIZE), wanted)
