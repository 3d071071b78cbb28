"""Augmentations: functions of (seed, index, view), described in full."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from frostline.data import augment as augmentations
from frostline.data.augment import Light, describe
from frostline.data.image import Digits, ImageFolder
from frostline.data.inputs import Pixels
from frostline.errors import UserError

EVERY = [Light(), v2.RandAugment(), v2.TrivialAugmentWide(), v2.Compose([Light(flip=0), v2.ColorJitter(0.4)])]


@pytest.mark.parametrize("augment", EVERY, ids=lambda augment: type(augment).__name__)
def test_a_sample_depends_on_seed_index_and_view_alone(augment: nn.Module, preprocess: Pixels) -> None:
    def images(seed: int, indices: list[int], view: int) -> Tensor:
        data = Digits(preprocess=preprocess, augment=augment, views=None, seed=seed, size=24)
        return data.splits["train"].inputs(torch.tensor(indices), view)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    batch = images(0, [3, 9, 400, 7], 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(images(0, [400], 2)[0], batch[2])
    assert torch.equal(images(0, [7, 3], 2), batch[[3, 0]])
    assert not torch.equal(images(1, [3, 9, 400, 7], 2), batch)
    assert not torch.equal(images(0, [3, 9, 400, 7], 3), batch)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("memory_gb", [1, 0])
def test_worker_processes_make_the_same_samples(photos: Path, preprocess: Pixels, memory_gb: float) -> None:
    def epoch(workers: int, batch_size: int) -> dict[int, Tensor]:
        data = ImageFolder(
            str(photos),
            preprocess=preprocess,
            augment=Light(),
            views=3,
            workers=workers,
            batch_size=batch_size,
            memory_gb=memory_gb,
        )
        return {
            int(index): image
            for batch in data.train_dataloader()
            for index, image in zip(batch["index"], batch["inputs"], strict=True)
        }

    here, there = epoch(0, 5), epoch(1, 3)
    assert sorted(here) == sorted(there) == list(range(12))
    assert all(torch.equal(here[index], there[index]) for index in here)


def test_validation_and_test_are_never_augmented(photos: Path, preprocess: Pixels) -> None:
    plain = ImageFolder(str(photos), preprocess=preprocess)
    augmented = ImageFolder(str(photos), preprocess=preprocess, augment=Light(), views=4)
    every = torch.arange(8)
    for name in ("val", "test"):
        assert torch.equal(plain.splits[name].inputs(every, 0), augmented.splits[name].inputs(every, 1))
        assert plain.transform_id(name) == augmented.transform_id(name)
    assert not torch.equal(plain.splits["train"].inputs(every, 0), augmented.splits["train"].inputs(every, 0))


def test_light_keeps_what_it_is_told_to_keep() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    assert torch.equal(Light(flip=0, scale=1)(image), image)
    assert torch.equal(Light(flip=1, scale=1)(image), image.flip(-1))


def test_the_description_changes_with_every_parameter() -> None:
    transforms = [
        augmentations.none(),
        Light(),
        Light(flip=0.4),
        Light(scale=0.7),
        v2.RandAugment(),
        v2.RandAugment(magnitude=8),
        v2.RandAugment(fill=3),
        v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR),
        v2.TrivialAugmentWide(),
        v2.RandomApply([Light()], p=0.2),
        v2.RandomApply([Light(flip=0.1)], p=0.2),
    ]
    texts = [describe(transform) for transform in transforms]
    assert len(set(texts)) == len(texts)
    assert describe(Light()) == describe(Light()) and " at 0x" not in "".join(texts)


def test_bad_augmentations_are_refused(preprocess: Pixels) -> None:
    with pytest.raises(UserError, match="augment.flip"):
        Light(flip=1.5)
    with pytest.raises(UserError, match="augment.scale"):
        Light(scale=0)
    with pytest.raises(UserError, match="no stable description"):
        Digits(preprocess=preprocess, augment=v2.Lambda(lambda image: image))
    with pytest.raises(UserError, match="must keep size and type"):
        Digits(preprocess=preprocess, augment=v2.CenterCrop(8)).splits["train"].inputs(torch.tensor([0]), 0)
