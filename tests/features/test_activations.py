"""Activations of sequences in the cache: only what is real is kept, and all of it comes back in order."""

from pathlib import Path

import pytest
import torch
from tests.sequences import WIDTH, sequences, tiny

from frostline.backbones.cuts import find_cuts, make_prefix
from frostline.data.inputs import Ragged, pad_sequences
from frostline.data.order import Share
from frostline.features.activations import Activations, sort_outputs
from frostline.features.cache import CONTENT, Store
from frostline.features.prefix import PrefixCache


def test_an_entry_holds_real_frames_alone_and_gives_them_back(tmp_path: Path) -> None:
    backbone, data = tiny(), sequences()
    cuts = {cut.name: cut for cut in find_cuts(backbone, 6)}
    cache = PrefixCache(Store(tmp_path), backbone, data)
    held = cache.collect("train", cuts["block2"], [0], ahead=[cuts["features"]])
    split = data.splits["train"]
    assert split.lengths is not None
    sizes = {entry.manifest["about"]["cut"]: entry.bytes for entry in Store(tmp_path).entries()}
    assert sizes == {
        "block2": 4 * WIDTH * int(split.lengths.sum()) + 8 * len(split),
        "features": 4 * WIDTH * len(split),
    }
    chosen = torch.tensor([3, 88, 17, 41])
    with torch.inference_mode():
        live = make_prefix(backbone, ["block2", "features"])(split.inputs(chosen, 0))
    found = held.inputs(chosen, 0)
    assert isinstance(found, Ragged) and torch.equal(found.lengths, live[0].lengths)
    torch.testing.assert_close(found.values[found.mask], live[0].values[live[0].mask])
    assert not found.values[~found.mask].any(), "padded with zeros"
    pooled = cache.collect("train", cuts["features"], [0]).inputs(chosen, 0)
    torch.testing.assert_close(pooled, live[1])


def test_mapped_files_memory_and_no_store_give_the_same(tmp_path: Path) -> None:
    backbone, data = tiny(), sequences()
    cut = find_cuts(backbone, 6)[2]
    stored = PrefixCache(Store(tmp_path), backbone, data).collect("val", cut, [0])
    mapped = PrefixCache(Store(tmp_path), backbone, data, memory_bytes=0).collect("val", cut, [0])
    kept = PrefixCache(None, backbone, data).collect("val", cut, [0])
    every = torch.arange(90)
    for other in (mapped, kept):
        for one, two in zip(stored.inputs(every, 0), other.inputs(every, 0), strict=True):
            assert torch.equal(one, two)


def test_a_flipped_bit_among_the_lengths_is_found(tmp_path: Path) -> None:
    backbone, data = tiny(), sequences()
    cut = find_cuts(backbone, 6)[2]
    before = PrefixCache(Store(tmp_path), backbone, data).collect("val", cut, [0]).inputs(torch.arange(90), 0)
    path = Store(tmp_path).entries()[0].path / CONTENT.format(0)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    after = PrefixCache(Store(tmp_path), backbone, data).collect("val", cut, [0]).inputs(torch.arange(90), 0)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_rows_of_several_files_are_found() -> None:
    rows = [torch.arange(float(length))[:, None] + 10 * place for place, length in enumerate([3, 1, 2, 4])]
    lengths = torch.tensor([3, 1, 2, 4])
    whole = Activations([torch.cat(rows)], lengths)
    parts = Activations([torch.cat(rows[:1]), torch.cat(rows[1:3]), rows[3]], lengths)
    for chosen in ([2, 0], [3], [1, 1, 2, 3, 0]):
        expected = pad_sequences([rows[place] for place in chosen])
        for held in (whole, parts):
            found = held.select(torch.tensor(chosen))
            assert isinstance(found, Ragged)
            assert torch.equal(found.values, expected.values) and torch.equal(found.lengths, expected.lengths)


@pytest.mark.parametrize("ragged", [False, True])
def test_batches_that_came_by_length_go_back_into_order(ragged: bool) -> None:
    rows = [torch.full((place + 1, 2), float(place)) for place in range(5)]
    batches = [torch.tensor([4, 1]), torch.tensor([0, 3, 2])]
    outputs = [
        pad_sequences([rows[place] for place in batch.tolist()]) if ragged else batch[:, None].float()
        for batch in batches
    ]
    content, lengths = sort_outputs(outputs, batches)
    if ragged:
        assert lengths is not None and lengths.tolist() == [1, 2, 3, 4, 5]
        assert torch.equal(content, torch.cat(rows))
    else:
        assert lengths is None and content.flatten().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_parts_of_a_pass_make_the_whole(parts: int) -> None:
    data = sequences(count=200)
    seen: list[int] = []
    for part in range(parts):
        window: list[int] = []
        for indices, inputs, complete in data.serve_in_order("train", 0, 8, Share(part, parts)):
            assert isinstance(inputs, Ragged) and inputs.values.shape[1] == int(inputs.lengths.max())
            window += indices.tolist()
            if complete:
                seen += sorted(window)
                window = []
        assert not window
    assert seen == list(range(200))
