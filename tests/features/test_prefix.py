"""The prefix cache: the same activations as the live network, computed once, whatever happens to their files."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import gc
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from tests.views import serve
from torch import nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import find_cuts, make_prefix, make_suffix
from frostline.data.base import DataModule
from frostline.features.cache import CONTENT, MANIFEST, Store
from frostline.features.prefix import PrefixCache
from frostline.ranks.collectives import Ranks

FULL_DISK = Callable[[int], AbstractContextManager[None]]
networks = pytest.mark.parametrize(
    ("name", "channels_last"),
    [
        ("test_resnet", True),
        ("test_resnet", False),
        ("test_efficientnet", True),
        ("test_convnext", True),
        ("test_vit", False),
    ],
)


class Passes:
    """Counts the batches that go through a network's first layer."""

    def __init__(self, backbone: Backbone) -> None:
        self.count = 0
        first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_hook(self._add)

    def _add(self, *call: object) -> None:
        self.count += 1


@networks
def test_cached_activations_are_those_of_the_live_network(
    make, load, tmp_path: Path, name: str, channels_last: bool
) -> None:
    backbone = make(name, channels_last)
    data: DataModule = load(backbone)
    cuts, passes = find_cuts(backbone, 32), Passes(backbone)
    cache = PrefixCache(Store(tmp_path), backbone, data)
    cache.collect("train", cuts[-1], [0, 1], ahead=cuts)
    assert passes.count == 6, "80 samples in batches of 32, twice, for all cuts"
    held = {cut.name: cache.collect("train", cut, [0, 1]) for cut in cuts}
    assert passes.count == 6 and len(Store(tmp_path).entries()) == 2 * len(cuts)
    indices = torch.tensor([79, 3, 20, 41, 7])
    for view in (0, 1):
        images = serve(data, indices, view)
        with torch.inference_mode():
            live = make_prefix(backbone, [cut.name for cut in cuts])(images)
            features = backbone.eval()(images)
            for cut, expected in zip(cuts, live, strict=True):
                cached = held[cut.name].inputs(indices, view)
                assert cached.shape[1:] == cut.shape and cached.is_contiguous()
                torch.testing.assert_close(cached, expected.contiguous(), rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(make_suffix(backbone, cut.name)(cached), features, rtol=1e-5, atol=1e-5)
    assert not torch.equal(held["features"].inputs(indices, 0), held["features"].inputs(indices, 1))


def test_a_run_in_memory_gets_the_same(make, load, tmp_path: Path) -> None:
    backbone = make()
    data, cut = load(backbone), find_cuts(backbone, 32)[-1]
    stored = PrefixCache(Store(tmp_path), backbone, data).collect("train", cut, [1])
    kept = PrefixCache(None, backbone, data).collect("train", cut, [1])
    every = torch.arange(80)
    assert torch.equal(stored.inputs(every, 1), kept.inputs(every, 1))
    assert kept.seconds_per_sample > 0 and stored.seconds_per_sample > 0


def test_another_run_computes_nothing(make, load, tmp_path: Path) -> None:
    first, second = make(), make()
    passes = Passes(second)
    data, cuts = load(first), find_cuts(first, 32)
    one = PrefixCache(Store(tmp_path), first, data).collect("val", cuts[-1], [0], ahead=[cuts[5]])
    with torch.no_grad():
        for name, parameter in second.named_parameters():
            if name not in cuts[5].parameters:
                parameter.normal_()
    two = PrefixCache(Store(tmp_path), second, load(second, num_per_class=3)).collect("val", cuts[5], [0])
    assert passes.count == 0, "what lies above the cut does not matter"
    with torch.inference_mode():
        again = make_suffix(first.eval(), cuts[5].name)(two.inputs(torch.arange(50), 0))
    torch.testing.assert_close(again, one.inputs(torch.arange(50), 0), rtol=1e-5, atol=1e-5)


def mapped(root: Path) -> bool:
    """Whether this process has a file below ``root`` mapped into its memory."""
    gc.collect()
    return str(root) in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("memory", [0, 1e9])
def test_autograd_takes_what_is_read_or_mapped(make, load, tmp_path: Path, memory: float) -> None:
    backbone = make()
    data, cut = load(backbone, views=1), find_cuts(backbone, 32)[8]
    source = PrefixCache(Store(tmp_path), backbone, data, memory_bytes=memory).collect("train", cut, [0])
    assert mapped(tmp_path) == (memory == 0)
    before = source.inputs(torch.arange(80), 0).clone()
    make_suffix(backbone.train(), cut.name)(source.inputs(torch.arange(9), 0)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == (name in cut.parameters), name
    assert torch.equal(source.inputs(torch.arange(80), 0), before)
    whole = source.views[0].load_rows()
    whole[0] = 0  # a network may work in place: the file must not follow
    assert Store(tmp_path).verify() == []


def test_what_does_not_fit_is_mapped_and_what_does_is_read(make, load, tmp_path: Path) -> None:
    backbone = make()
    data, cut = load(backbone), find_cuts(backbone, 32)[-1]
    each = 80 * cut.bytes
    cache = PrefixCache(Store(tmp_path), backbone, data, memory_bytes=1.5 * each)
    both = cache.collect("train", cut, [0, 1])
    maps = Path("/proc/self/maps").read_text()
    assert maps.count(str(tmp_path)) == 1 and cache._left == 0.5 * each
    live = make_prefix(backbone, ["features"])
    for view in (0, 1):
        (expected,) = live(serve(data, torch.arange(10), view))
        torch.testing.assert_close(both.inputs(torch.arange(10), view), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", [CONTENT.format(0), MANIFEST])
@pytest.mark.parametrize("short", [True, False])
def test_a_damaged_entry_is_said_and_computed_again(
    make, load, tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, short: bool
) -> None:
    backbone = make()
    data, cut, passes = load(backbone), find_cuts(backbone, 32)[-1], Passes(backbone)
    good = PrefixCache(Store(tmp_path), backbone, data).collect("train", cut, [0])
    (entry,) = Store(tmp_path).entries()
    content = bytearray((entry.path / part).read_bytes())
    content[len(content) // 2] ^= 1
    (entry.path / part).write_bytes(content[: len(content) // 2] if short else content)
    with caplog.at_level(logging.WARNING):
        again = PrefixCache(Store(tmp_path), backbone, data).collect("train", cut, [0])
    assert caplog.text.count("is damaged; it is built anew") == 1
    assert passes.count == 6 and Store(tmp_path).verify() == []
    assert torch.equal(again.inputs(torch.arange(80), 0), good.inputs(torch.arange(80), 0))


def test_a_full_disk_is_an_error_that_leaves_nothing(make, load, tmp_path: Path, full_disk: FULL_DISK) -> None:
    backbone = make()
    data, cuts = load(backbone), find_cuts(backbone, 32)
    cache = PrefixCache(Store(tmp_path), backbone, data)
    for most in (0, 10, 10_000, 60_000):
        with full_disk(most), pytest.raises(OSError):
            cache.collect("train", cuts[8], [0, 1], ahead=cuts)
        assert list(tmp_path.iterdir()) == [], most
    assert cache.seconds > 0
    cache.collect("train", cuts[8], [0, 1], ahead=cuts)
    assert len(Store(tmp_path).entries()) == 2 * len(cuts)


def test_entries_in_use_survive_a_small_budget(make, load, tmp_path: Path) -> None:
    backbone = make()
    data, cuts = load(backbone), find_cuts(backbone, 32)
    PrefixCache(Store(tmp_path), backbone, data).collect("val", cuts[-1], [0])
    cache = PrefixCache(Store(tmp_path), backbone, data, max_bytes=1)
    cache.collect("train", cuts[-1], [0, 1])
    assert [entry.manifest["about"]["split"] for entry in Store(tmp_path).entries()] == ["train", "train"]


def test_activations_of_mixed_precision_are_kept_as_they_are(make, load, tmp_path: Path) -> None:
    backbone = make()
    data, cut = load(backbone), find_cuts(backbone, 32)[-1]
    cache = PrefixCache(
        Store(tmp_path), backbone, data, precision="bf16-mixed", autocast=lambda: torch.autocast("cpu", torch.bfloat16)
    )
    features = cache.collect("train", cut, [0]).inputs(torch.arange(80), 0)
    plain = PrefixCache(None, backbone, data, autocast=nullcontext).collect("train", cut, [0])
    assert len(Store(tmp_path).entries()) == 1 and features.dtype in (torch.bfloat16, torch.float32)
    torch.testing.assert_close(features.float(), plain.inputs(torch.arange(80), 0), rtol=0.1, atol=0.1)


def test_a_rank_by_itself_collects_everything_and_keeps_what_it_used(make, load, tmp_path: Path) -> None:
    backbone = make()
    data, cut = load(backbone), find_cuts(backbone, 32)[-1]
    expected = PrefixCache(Store(tmp_path), backbone, data).collect("val", cut, [0]).views[0].load_rows()
    shared = PrefixCache(Store(tmp_path), backbone, data, max_bytes=1, ranks=Ranks(1, 2))
    alone = shared.without_ranks()
    assert torch.equal(alone.collect("val", cut, [0]).views[0].load_rows(), expected)
    assert shared.ranks.world == 2 and alone.ranks.world == 1
    alone.without_ranks().collect("train", cut, [0])
    assert len(Store(tmp_path).entries()) == 2, "what the rank read before stays"
