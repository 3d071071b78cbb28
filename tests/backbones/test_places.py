"""Which dimensions of an activation are places, whatever network made it, and the vectors that pooling makes of it."""

import pytest
import torch
from tests import configs
from torch import Tensor, nn

from frostline.backbones.base import Cut, dense_cut
from frostline.backbones.cuts import find_cuts, pool_activation, prefix
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.data.inputs import Pixels, Ragged

NONE = frozenset[str]()
PLAIN = Pixels(24, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")


def cut_of(value: Tensor, places: tuple[int, ...]) -> Cut:
    return dense_cut("cut", value, 0, NONE, NONE, places)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_the_places_of_a_map_are_what_grows_with_the_image(name: str, channels_last: bool) -> None:
    how = {"name": name, "weights": "none", "channels_last": channels_last}
    small, large = (
        {cut.name: cut for cut in find_cuts(configs.make("backbone/timm", **how, size=size), size)}
        for size in (64, 128)
    )
    assert list(small) == list(large) and len(small) > 5
    for cut, other in zip(small.values(), large.values(), strict=True):
        sides = zip(cut.shape, other.shape, strict=True)
        grown = [place for place, (one, two) in enumerate(sides, 1) if one != two or (one, two) == (1, 1)]
        assert list(cut.places) == grown, cut.name


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_channels_of_other_networks_come_last(channels_last: bool) -> None:
    """Swin's maps are [B, H, W, C], those of a vision transformer [B, tokens, C]; the first layer of both convolves."""
    small = {"embed_dim": 16, "depths": [2, 1], "num_heads": [1, 2], "window_size": 4}
    name = "swin_tiny_patch4_window7_224"
    swin = configs.make("backbone/timm", name=name, weights="none", size=64, options=small, channels_last=channels_last)
    maps = [cut for cut in find_cuts(swin, 64) if cut.shape[-1] in (16, 32) and cut.shape != (16, 16, 16)]
    assert len(maps) > 3 and {cut.places for cut in maps if len(cut.shape) == 3} == {(1, 2)}
    vit = configs.make("backbone/timm", name="test_vit", weights="none", size=64, channels_last=channels_last)
    tokens = [cut for cut in find_cuts(vit, 64) if len(cut.shape) == 2]
    assert len(tokens) > 3 and {cut.places for cut in tokens} == {(1,)}


class Wide(nn.Module):
    """Maps that are wider than high, with channels second, then last; as many channels as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, stride=(4, 2), padding=1), nn.Conv2d(6, 12, 3, padding=1)
        self.last = nn.Linear(12, 6)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(self.first(images).relu()).relu()
        return self.last(maps.permute(0, 2, 3, 1)).relu().mean(dim=(1, 2))


@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_need_not_be_square(channels_last: bool) -> None:
    torch.manual_seed(0)
    network = Wide()
    groups = {name: [f"{name}.weight", f"{name}.bias"] for name in ("first", "second", "last")}
    backbone = ImageBackbone(network, "wide", groups, PLAIN, channels_last=channels_last).eval()
    cuts = {cut.name: cut for cut in find_cuts(backbone, 24)}
    found = {name: (cut.shape, cut.places) for name, cut in cuts.items()}
    assert found["add"] == ((3, 24, 24), (2, 3)), "the images themselves"
    assert found["network.first"] == ((6, 6, 12), (2, 3)) and found["network.last"] == ((6, 12, 6), (1, 2))
    images = backbone.example(3, 24)
    for name, channels in {"network.first": 6, "network.second": 12, "network.permute": 12, "network.last": 6}.items():
        (activation,) = prefix(backbone, [name])(images)
        assert pool_activation(activation, cuts[name]).shape == (3, channels)


def test_maps_tokens_and_vectors_are_pooled_over_their_places() -> None:
    value = torch.rand(2, 5, 3, 4)
    assert torch.equal(pool_activation(value, cut_of(value, (2, 3))), value.mean(dim=(2, 3)))
    turned = value.permute(0, 2, 3, 1)
    assert torch.equal(pool_activation(turned, cut_of(turned, (1, 2))), turned.mean(dim=(1, 2)))
    tokens = torch.rand(2, 7, 5)
    assert torch.equal(pool_activation(tokens, cut_of(tokens, (1,))), tokens.mean(dim=1))
    vectors = torch.rand(2, 5)
    assert torch.equal(pool_activation(vectors, cut_of(vectors, ())), vectors)


def test_of_sequences_only_what_is_real_is_pooled() -> None:
    batch = Ragged(torch.tensor([[[1.0], [3.0], [99.0]], [[5.0], [6.0], [7.0]]]), torch.tensor([2, 3]))
    assert pool_activation(batch, Cut("cut", NONE, (1,), 0, 0)).tolist() == [[2.0], [6.0]]
