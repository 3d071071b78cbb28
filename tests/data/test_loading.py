"""What was stored is served alike from wherever it lies: read by a thread, indexed in memory, or kept on a GPU."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.sequences import sequences, tiny
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from frostline.backbones.cuts import find_cuts
from frostline.data.base import DataModule
from frostline.data.inputs import Ragged
from frostline.data.threads import make_ahead
from frostline.features.activations import Activations, CachedSplit
from frostline.features.cache import Store
from frostline.features.prefix import SHARE, PrefixCache

CUDA = torch.device("cuda", 0)


def epoch(data: DataModule, number: int) -> list[dict[str, Any]]:
    """Return the batches of an epoch of training."""
    loader: Any = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


@pytest.mark.parametrize("cut", [1, -1])
@pytest.mark.parametrize("skip", [0, 3])
def test_files_read_ahead_serve_what_memory_serves(tmp_path: Path, cut: int, skip: int) -> None:
    backbone, data = tiny(), sequences(count=300)
    kinds, served, random = [], [], []
    for memory in (1e9, 0):
        cache = PrefixCache(Store(tmp_path), backbone, data, memory_bytes=memory)
        found = cache.collect("train", find_cuts(backbone, 6)[cut], [0])
        data.use({"train": found})
        data.skip_batches(skip)
        torch.manual_seed(0)
        served.append(epoch(data, 2))
        kinds.append(found.device)
        random.append(torch.get_rng_state())
    assert kinds == [torch.device("cpu"), None]
    assert torch.equal(*random), "dropout sees the same numbers"
    assert len(served[0]) == 38 - skip
    for one, two in zip(*served, strict=True):
        for name in ("label", "index", "weight"):
            assert torch.equal(one[name], two[name])
        if isinstance(one["inputs"], Ragged):
            assert all(torch.equal(*pair) for pair in zip(one["inputs"], two["inputs"], strict=True))
        else:
            assert torch.equal(one["inputs"], two["inputs"])


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("frostline")]


def test_a_thread_makes_the_next_ones_and_ends_with_its_reader() -> None:
    made: list[int] = []
    more = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 2:
                more.set()
            yield number

    coming = make_ahead(numbers())
    assert next(coming) == 0 and more.wait(5), "two are made while one is used"
    assert made == [0, 1, 2]
    coming.close()
    assert threads() == []
    assert list(make_ahead(numbers())) == [0, 1, 2, 3, 4] and threads() == []


def test_what_making_one_raises_comes_in_its_turn() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    coming = make_ahead(broken())
    assert next(coming) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)
    assert threads() == []


class Copies(TorchDispatchMode):
    """Counts what goes from the host to a GPU; an operation on tensors of both raises by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        into = result.device.type if isinstance(result, torch.Tensor) else ""
        sources = [one for one in arguments if isinstance(one, torch.Tensor) and one.dim()]
        self.count += into == "cuda" and any(one.device.type == "cpu" for one in sources)
        return result


def stored(rows: int) -> tuple[DataModule, PrefixCache, dict[str, CachedSplit]]:
    """Return data and features [rows, 4] of its training samples, for a run that trains on a GPU."""
    data = sequences(count=rows)
    data.splits["train"].lengths = None  # type: ignore[misc]
    cache = PrefixCache(None, tiny(), data, device=CUDA)
    parts = [torch.arange(4.0 * rows).view(rows, 4)[: rows // 2], torch.zeros(rows - rows // 2, 4)]
    views = {view: Activations(parts, mapped=True) for view in (0, 1)}
    return data, cache, {"train": CachedSplit(views, 0.0)}


def allow(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """Pretend a GPU with so many free bytes, a thousand of which torch keeps."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - 1000, 10 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 500)


def test_what_is_kept_on_a_gpu_is_indexed_there_and_nothing_goes_over_in_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, cache, sources = stored(100)
    allow(monkeypatch, 2 * 1600 / SHARE)
    pretended = FakeTensorMode(allow_non_fake_inputs=True)
    with pretended:
        cache.move_to_device(sources.values())
        data.use(sources)
        loader: Any = data.train_dataloader()
    assert sources["train"].device == CUDA and not loader.ahead and not loader.pin_memory
    batches = iter(loader)  # its seed is a number of the host's
    with pretended:
        with Copies() as first:
            next(batches)
        with Copies() as rest:
            others = list(batches)
    assert (len(others), first.count, rest.count) == (12, 2, 0), "an epoch's indices and weights, at once"
    assert {part.device for batch in others for part in batch.values()} == {CUDA}
    cache.begin()
    assert not sources["train"].views, "the next phase has the memory"


def test_what_does_not_fit_a_gpu_or_has_lengths_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    _, cache, sources = stored(100)
    allow(monkeypatch, 2 * 1600 / SHARE - 8)
    sources["val"] = CachedSplit({0: Activations([torch.zeros(6, 4)], torch.tensor([1, 2, 3]))}, 0.0)
    cache.move_to_device(sources.values())
    assert sources["train"].device is None and sources["val"].device == torch.device("cpu")
    cache.begin()
    assert len(sources["train"].views) == 2


def test_rows_in_one_piece_are_those_of_their_files() -> None:
    parts = [torch.randn(3, 2, 2), torch.randn(1, 2, 2), torch.randn(4, 2, 2)]
    chosen = torch.tensor([7, 0, 3, 3, 2])
    held = Activations(parts, mapped=True).to(torch.device("cpu"))
    assert not held.mapped and held.bytes == 4 * 8 * 4
    assert torch.equal(held.select(chosen), Activations(parts).select(chosen))  # type: ignore[arg-type]
