"""The identity of an activation: it changes with everything an activation depends on, and with nothing else."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import configs

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, find_cuts
from frostline.data.base import DataModule
from frostline.features.cache import Store
from frostline.features.key import Key
from frostline.features.prefix import PrefixCache

TEXTS, NUMBERS = st.text(max_size=8), st.integers(0, 99)
SHAPES = st.lists(st.integers(1, 9), max_size=4).map(tuple)
VALUES: dict[str, st.SearchStrategy[Any]] = {"view": NUMBERS, "format": NUMBERS, "shape": SHAPES}
KEYS = st.builds(Key, **{field.name: VALUES.get(field.name, TEXTS) for field in fields(Key)})


@settings(deadline=None)
@given(KEYS, KEYS, st.sampled_from([field.name for field in fields(Key)]))
def test_keys_are_equal_if_and_only_if_every_field_is(first: Key, other: Key, field: str) -> None:
    assert len(first.digest()) == 32 and int(first.digest(), 16) >= 0
    assert Key(**asdict(first)).digest() == first.digest()
    changed = replace(first, **{field: getattr(other, field)})
    assert (changed.digest() == first.digest()) == (changed == first)
    assert (other.digest() == first.digest()) == (other == first)


def key(backbone: Backbone, data: DataModule, cut: int = 8, split: str = "train", view: int = 0, **options: Any) -> str:
    """The name of the entry at the cut of this number."""
    return PrefixCache(Store(Path("nowhere")), backbone, data, **options).key(split, cuts(backbone)[cut], view)


def cuts(backbone: Backbone) -> list[Cut]:
    return find_cuts(backbone, backbone.preprocess.size)


def flip(tensor: torch.Tensor) -> None:
    """Flip the last bit of a float tensor's first number."""
    with torch.no_grad():
        tensor.as_strided((1,), (1,)).view(torch.int32).bitwise_xor_(1)


@pytest.mark.parametrize("kind", ["parameters", "buffers"])
def test_one_bit_of_the_prefix_makes_another_key_and_the_suffix_does_not_matter(make, load, kind: str) -> None:
    backbone = make()
    data = load(backbone)
    first, whole = key(backbone, data), key(backbone, data, -1)
    assert first == key(make(), data), "the same weights in another object"
    below = getattr(cuts(backbone)[8], kind)
    assert below and below < getattr(cuts(backbone)[-1], kind)
    tensors = dict(getattr(backbone, f"named_{kind}")())
    for name in cuts(backbone)[-1].buffers | cuts(backbone)[-1].parameters:
        if name not in tensors or not tensors[name].is_floating_point() or name in ("scale", "shift"):
            continue
        flip(tensors[name])
        assert (key(backbone, data) != first) == (name in below), name
        assert key(backbone, data, -1) != whole, name
        flip(tensors[name])
    assert (key(backbone, data), key(backbone, data, -1)) == (first, whole)


def test_all_that_the_samples_depend_on_makes_another_key(make, load) -> None:
    backbone = make()
    loads: dict[str, Callable[[], DataModule]] = {
        "as it is": lambda: load(backbone),
        "size": lambda: load(backbone, size=24),
        "augmentation": lambda: load(backbone, augment=configs.make("augment/light", flip=0.25)),
        "no augmentation": lambda: load(backbone, augment=None),
        "seed": lambda: load(backbone, seed=1),
        "samples": lambda: load(backbone, num_per_class=4),
        "another division": lambda: load(backbone, split_seed=1),
        "interpolation": lambda: load(backbone, preprocess=replace(backbone.preprocess, interpolation="nearest")),
        "crop": lambda: load(backbone, crop=0.5),
        "the backbone's crop": lambda: load(backbone, crop=None),
        "fit": lambda: load(backbone, fit="pad"),
        "background": lambda: load(backbone, background="black"),
    }
    found = {name: key(backbone, make_data()) for name, make_data in loads.items()}
    assert len(set(found.values())) == len(found), found
    data = load(backbone)
    others = {
        "split": key(backbone, data, split="val"),
        "view": key(backbone, data, view=1),
        "cut": key(backbone, data, cut=9),
        "precision": key(backbone, data, precision="bf16-mixed"),
        "weights": key(make(seed=1), data),
        "network": key(make("test_efficientnet"), data),
    }
    assert len({*found.values(), *others.values()}) == len(found) + len(others), others


def test_runs_that_differ_elsewhere_share_entries(make, load) -> None:
    backbone = make()
    plain, other = load(backbone, views=1), load(backbone, views=1, num_per_class=4, seed=3, batch_size=7)
    assert key(backbone, plain, split="val") == key(backbone, other, split="val")
    assert key(backbone, plain) != key(backbone, other), "other training samples"
    assert key(backbone, load(backbone)) == key(backbone, load(backbone, views=5, batch_size=7))


def test_mean_and_deviation_are_in_the_key(make, load) -> None:
    backbone = make()
    data = load(backbone)
    first = key(backbone, data)
    backbone.preprocess = replace(backbone.preprocess, mean=(0.1, 0.2, 0.3))
    assert key(backbone, data) != first
