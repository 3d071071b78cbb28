"""Augmentations: functions of (seed, index, view), described in full."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

from pathlib import Path

import pytest
import torch
from tests.configs import make
from tests.views import epoch, serve
from torch import Tensor
from torchvision.transforms import v2

from frostline.data.image import augment as augmentations
from frostline.data.image.augment import Augment, Batched, augment_images, describe, draw
from frostline.data.image.policies import TrivialAugment
from frostline.data.inputs import Pixels
from frostline.errors import UserError

BATCHED = [make("augment/light"), make("augment/light", scale=0.1), make("augment/randaugment"), TrivialAugment()]
EVERY = [*BATCHED, v2.RandAugment(), v2.Compose([make("augment/light", flip=0), TrivialAugment(), v2.ColorJitter(0.4)])]


@pytest.mark.parametrize("augment", EVERY, ids=lambda augment: type(augment).__name__)
def test_a_sample_depends_on_seed_index_and_view_alone(augment: Augment, preprocess: Pixels) -> None:
    def images(seed: int, indices: list[int], view: int) -> Tensor:
        data = make("data/digits", preprocess=preprocess, augment=augment, views=None, seed=seed, size=24)
        return serve(data, torch.tensor(indices), view)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    batch = images(0, [3, 9, 400, 7], 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(images(0, [400], 2)[0], batch[2])
    assert torch.equal(images(0, [7, 3], 2), batch[[3, 0]])
    assert not torch.equal(images(1, [3, 9, 400, 7], 2), batch)
    assert not torch.equal(images(0, [3, 9, 400, 7], 3), batch)


@pytest.mark.parametrize("size", [24, 65])
@pytest.mark.parametrize("augment", BATCHED, ids=describe)
def test_what_stands_beside_an_image_in_its_batch_is_nothing_to_it(augment: Batched, size: int) -> None:
    images = torch.randint(0, 256, (80, 3, size, size), dtype=torch.uint8)
    whole = images.clone()
    indices = torch.randperm(1000)[:80]
    made = augment_images(augment, 4, images, indices, 2)
    assert torch.equal(images, whole), "what it was given stays as it was"
    for width in (1, 3, 11):
        parts = zip(images.split(width), indices.split(width), strict=True)
        assert torch.equal(torch.cat([augment_images(augment, 4, *part, 2) for part in parts]), made)
    last = images.contiguous(memory_format=torch.channels_last)
    order = torch.randperm(80)
    assert torch.equal(augment_images(augment, 4, last[order], indices[order], 2), made[order])
    with torch.inference_mode():
        assert torch.equal(augment_images(augment, 4, last, indices, 2), made)


@pytest.mark.parametrize("augment", BATCHED, ids=describe)
def test_no_value_of_an_image_is_waited_for(augment: Batched) -> None:
    """On the device that has no values, where whoever asks for one fails, as on a GPU he would have to wait for it."""
    images = torch.empty(80, 3, 24, 24, dtype=torch.uint8, device="meta")
    made = augment_images(augment, 0, images, torch.arange(80), 1)
    assert made.device.type == "meta" and made.shape == images.shape and made.dtype == torch.uint8


def test_numbers_are_even_and_each_sample_has_its_own() -> None:
    numbers = draw(3, torch.arange(20_000), 1, 4)
    assert numbers.min() >= 0 and numbers.max() < 1
    for column in numbers.T:
        counts = torch.histc(column, 20, 0, 1)
        assert ((counts - 1000) ** 2 / 1000).sum() < 45, "chi-square of 19 degrees of freedom, at 1 in 1,000"
    sides = numbers[:, 0], numbers[:, 1], numbers[1:, 0], draw(3, torch.arange(20_000), 2, 1)[:, 0]
    pairs = [(sides[0], sides[1]), (sides[0][:-1], sides[2]), (sides[0], sides[3])]
    assert all(abs(torch.corrcoef(torch.stack(pair))[0, 1]) < 0.03 for pair in pairs)
    assert torch.equal(draw(3, torch.tensor([7, 2**40]), 1, 4)[:1], numbers[7:8]), "whoever stands beside it"
    assert numbers.unique().numel() == numbers.numel()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("memory_gb", [1, 0])
@pytest.mark.parametrize("augment", [make("augment/light"), v2.TrivialAugmentWide()], ids=["in batches", "one by one"])
def test_worker_processes_make_the_same_samples(
    photos: Path, preprocess: Pixels, memory_gb: float, augment: Augment
) -> None:
    def made(workers: int, batch_size: int) -> dict[int, Tensor]:
        data = make(
            "data/imagefolder",
            root=str(photos),
            preprocess=preprocess,
            augment=augment,
            views=3,
            workers=workers,
            batch_size=batch_size,
            memory_gb=memory_gb,
        )
        return epoch(data)

    here, there = made(0, 5), made(1, 3)
    assert sorted(here) == sorted(there) == list(range(12))
    assert all(torch.equal(here[index], there[index]) for index in here)
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, augment=augment, views=3)
    assert all(torch.equal(here[index], serve(data, torch.tensor([index]), 0)[0]) for index in here)
    plain = epoch(make("data/imagefolder", root=str(photos), preprocess=preprocess))
    assert not all(torch.equal(here[index], plain[index]) for index in here)


def test_validation_and_test_are_never_augmented(photos: Path, preprocess: Pixels) -> None:
    plain = make("data/imagefolder", root=str(photos), preprocess=preprocess)
    augmented = make(
        "data/imagefolder", root=str(photos), preprocess=preprocess, augment=make("augment/light"), views=4
    )
    every = torch.arange(8)
    for name in ("val", "test"):
        served = augmented.splits[name].inputs(every, 1)
        assert torch.equal(plain.splits[name].inputs(every, 0), augmented.augment_batch(name, served, every, 1))
        batch = next(iter(augmented.loader(name, shuffle=False)))
        moved = augmented.transfer_batch_to_device(batch, torch.device("cpu"), 0)
        assert torch.equal(moved["inputs"], plain.splits[name].inputs(batch["index"], 0))
        assert plain.transform_id(name) == augmented.transform_id(name)
    assert not torch.equal(serve(plain, every, 0), serve(augmented, every, 0))


def test_light_keeps_what_it_is_told_to_keep() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    assert torch.equal(make("augment/light", flip=0, scale=1)(image), image)
    assert torch.equal(make("augment/light", flip=1, scale=1)(image), image.flip(-1))


def test_the_description_changes_with_every_parameter() -> None:
    transforms = [
        augmentations.none(),
        make("augment/light"),
        make("augment/light", flip=0.4),
        make("augment/light", scale=0.7),
        make("augment/randaugment"),
        make("augment/randaugment", magnitude=8),
        make("augment/randaugment", num_ops=1),
        TrivialAugment(),
        v2.RandAugment(),
        v2.RandAugment(fill=3),
        v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR),
        v2.TrivialAugmentWide(),
        v2.RandomApply([make("augment/light")], p=0.2),
        v2.RandomApply([make("augment/light", flip=0.1)], p=0.2),
    ]
    texts = [describe(transform) for transform in transforms]
    assert len(set(texts)) == len(texts)
    assert describe(make("augment/light")) == describe(make("augment/light")) and " at 0x" not in "".join(texts)


def test_bad_augmentations_are_refused(preprocess: Pixels) -> None:
    with pytest.raises(UserError, match="augment.flip"):
        make("augment/light", flip=1.5)
    with pytest.raises(UserError, match="augment.scale"):
        make("augment/light", scale=0)
    with pytest.raises(UserError, match="augment.num_ops: -1"):
        make("augment/randaugment", num_ops=-1)
    with pytest.raises(UserError, match="augment.magnitude: 31 is out of range"):
        make("augment/randaugment", magnitude=31)
    with pytest.raises(UserError, match="no stable description"):
        make("data/digits", preprocess=preprocess, augment=v2.Lambda(lambda image: image), size=None)
    with pytest.raises(UserError, match="must keep size and type"):
        serve(make("data/digits", preprocess=preprocess, augment=v2.CenterCrop(8), size=None), torch.tensor([0]), 0)
    with pytest.raises(UserError, match="Halved made torch.uint8 .* must keep size and type"):
        serve(make("data/digits", preprocess=preprocess, augment=Halved(), size=None), torch.tensor([0]), 0)


class Halved(Batched):
    """One that does not keep the size."""

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        return images[..., ::2]
