"""What is done to batches of images is what torchvision does to each, and a CPU's way is that of other devices."""

import pytest
import torch
from tests.configs import make
from torch import Tensor
from torchvision.transforms import v2

from frostline.data.image.augment import draw
from frostline.data.image.crops import LARGE, Boxes, resize_by_sampling, resize_by_size
from frostline.data.image.policies import OPERATIONS, Ranges, TrivialAugment, apply_operations

NAMES = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"]
NAMES += ["Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]
STRENGTHS = {name: [-0.877, -0.4321, -0.0713, 0.0, 0.211, 0.533, 0.9] for name in NAMES}
STRENGTHS |= {name: [-31.0, -7.0, -1.0, 0.0, 1.0, 2.0, 11.0] for name in ("TranslateX", "TranslateY")}
STRENGTHS |= {"Rotate": [-123.4, -44.3, -17.9, 0.0, 7.1, 81.7, 131.1], "Posterize": [2, 3, 4, 5, 6, 7, 8]}
STRENGTHS |= {"Solarize": [0.0, 0.211, 0.4321, 0.5, 0.7, 0.877, 1.0]}
BLENDS = {"Brightness", "Color", "Contrast", "Sharpness"}


def pictures(count: int, size: int) -> Tensor:
    """Return images of noise, the upper half dark, with a plain one among them."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(20, 240, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    images[:, :, : size // 2] //= 3
    images[1:2] = 77
    return images


def one_by_one(name: str, images: Tensor, strengths: list[float]) -> Tensor:
    """Return what torchvision makes of each image."""
    theirs = v2.RandAugment()
    apply, nearest = theirs._apply_image_or_video_transform, v2.InterpolationMode.NEAREST
    return torch.stack([apply(*pair, nearest, theirs._fill) for pair in _named(name, images, strengths)])  # type: ignore[arg-type]


def _named(name: str, images: Tensor, strengths: list[float]) -> list[tuple[Tensor, str, float]]:
    return [(image, name, float(strength)) for image, strength in zip(images, strengths, strict=True)]


@pytest.mark.parametrize("size", [2, 24, 33, 64])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_torchvisions(name: str, size: int) -> None:
    images, strengths = pictures(7, size), STRENGTHS[name]
    chosen = torch.full((1, 7), NAMES.index(name))
    made = apply_operations(images, chosen, torch.tensor([strengths], dtype=torch.float64))
    far = (made.int() - one_by_one(name, images, strengths).int()).abs()
    assert far.max() <= (name in BLENDS) or (name == "Rotate" and (far > 0).float().mean() < 0.01)
    if name != "Identity" and size > 2:
        assert not torch.equal(made, images)


@pytest.mark.parametrize("wide", [True, False])
def test_strengths_are_torchvisions(wide: bool) -> None:
    size = 331
    theirs = v2.TrivialAugmentWide() if wide else v2.RandAugment()
    most = TrivialAugment.most if wide else Ranges(0.3, 150, 30, 0.9, 4)
    steps = torch.arange(31)
    assert len(theirs._AUGMENTATION_SPACE) == OPERATIONS
    for number, (name, (strengths, signed)) in enumerate(theirs._AUGMENTATION_SPACE.items()):
        assert name == NAMES[number]
        expected = strengths(31, size, size)
        for sign in (1, -1):
            ours = most.strengths(torch.full((31,), number), steps, torch.full((31,), sign))
            if expected is not None:
                wanted = expected.double() * (sign if signed else 1)
                wanted = (wanted * 1.000001).trunc() if name.startswith("Translate") else wanted
                torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-4)


def test_each_operation_is_drawn_as_often_with_either_sign() -> None:
    images = pictures(1, 20).expand(4200, -1, -1, -1)
    numbers = draw(0, torch.arange(4200), 0, 3)
    kinds = torch.unique(TrivialAugment().change(images, numbers).flatten(1), dim=0)
    assert len(kinds) > 100
    unchanged = (make("augment/randaugment", num_ops=1).change(images, numbers[:, :2]) == images).flatten(1).all(dim=1)
    assert abs(unchanged.float().mean() - 1 / OPERATIONS) < 0.02
    assert torch.equal(make("augment/randaugment", num_ops=0).change(images, numbers[:, :0]), images)


@pytest.mark.parametrize("shape", [(24, 24), (65, 48), (200, 190)])
def test_boxes_are_cut_alike_on_processors_and_elsewhere(shape: tuple[int, int]) -> None:
    height, width = shape
    images = torch.randint(0, 256, (40, 3, height, width), dtype=torch.uint8)
    assert (images.numel() > LARGE) == (height == 200), "threads share those"
    numbers = draw(0, torch.arange(40), 0, 5)
    h, w = ((side * (0.6 + 0.4 * share)).round().long() for side, share in zip(shape, numbers.T, strict=False))
    top, left = (numbers[:, 2] * (height - h + 1)).long(), (numbers[:, 3] * (width - w + 1)).long()
    boxes = Boxes(top, left, h, w, numbers[:, 4] < 0.5)
    made = resize_by_size(images, boxes)
    assert (made.int() - resize_by_sampling(images, boxes).int()).abs().max() <= 1
    for image, one, t, le, tall, wide, flipped in zip(images, made, *(part.tolist() for part in boxes), strict=True):
        whole = v2.functional.resized_crop(image, t, le, tall, wide, [height, width], antialias=True)
        assert torch.equal(one, whole.flip(-1) if flipped else whole)


def test_light_mirrors_and_crops_as_often_as_it_says() -> None:
    ramp = torch.arange(0, 250, 5, dtype=torch.uint8).expand(2000, 3, 50, 50)
    made = make("augment/light", flip=0.3, scale=0.5).change(ramp, draw(1, torch.arange(2000), 0, 4))[:, 0, 25].int()
    mirrored = made[:, 0] > made[:, -1]
    assert abs(mirrored.float().mean() - 0.3) < 0.03
    area = ((made[:, -1] - made[:, 0]).abs() / 245) ** 2
    assert area.min() > 0.44 and area.max() <= 1 and abs(area.mean() - 0.75) < 0.03
