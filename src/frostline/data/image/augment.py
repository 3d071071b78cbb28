"""Random augmentations made a pure function of (seed, sample index, view), so that what they make can be cached."""

import enum
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frostline.data.image.crops import Boxes, resize_boxes
from frostline.data.order import stable_seed
from frostline.errors import UserError

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


class Batched(nn.Module):
    """A random change of images that is made of whole batches, on the device where they are.

    Derive from it: ``count`` says how many random numbers an image takes, ``change`` what becomes of them. It is a
    function of an image and its own numbers, whatever stands beside it, keeps size and type, and leaves what it is
    given as it was. In a Compose of torchvision's, which changes one image at a time, it does so too.
    """

    count = 0

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return uint8 images [B, 3, S, S] changed by ``numbers`` [B, count] in [0, 1) of the host's memory."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return one image [3, S, S] changed by numbers from torch's global generator."""
        return self.change(image[None], torch.rand(1, self.count, dtype=torch.float64))[0]


Augment = Batched | Callable[[Tensor], Tensor]
"""What changes batches, or one uint8 image [3, S, S] by torch's global generator, as torchvision's transforms do."""


def none() -> None:
    """No augmentation: all views are one."""


class Light(Batched):
    """Mirror with probability ``flip``, then cut out at least ``scale`` of the area and resize it to the whole.

    The mild form of the crops of Szegedy et al. 2015: made for small data sets, which strong crops starve. Raises
    UserError when a strength is out of range.
    """

    count = 4

    def __init__(self, flip: float, scale: float) -> None:
        super().__init__()
        if not 0 <= flip <= 1:
            raise UserError(f"augment.flip: {flip} is not a probability; it lies between 0 and 1.")
        if not 0 < scale <= 1:
            raise UserError(f"augment.scale: {scale} is not a share of the image's area; it is above 0, at most 1.")
        self.flip, self.scale = flip, scale

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        flip, area, down, right = numbers.T
        height, width = images.shape[-2:]
        side = (self.scale + (1 - self.scale) * area).sqrt()
        h, w = ((length * side).round().long().clamp(min=1) for length in (height, width))
        top, left = (down * (height - h + 1)).long(), (right * (width - w + 1)).long()
        return resize_boxes(images, Boxes(top, left, h, w, flip < self.flip))


def draw(seed: int, indices: Tensor, view: int, count: int) -> Tensor:
    """Return random numbers [B, count] in [0, 1), in double precision, each row a function of (seed, index, view).

    SplitMix64 (Steele et al. 2014) at places of its own for each sample, so that all are drawn at once.
    """
    key = np.array(stable_seed(seed, view, "numbers"), np.uint64)
    starts = _mixed(key + indices.numpy().astype(np.uint64)[:, None] * _GOLDEN)
    bits = _mixed(starts + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    return torch.from_numpy((bits >> np.uint64(11)) * 2.0**-53)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))


def augment_images(augment: Augment, seed: int, images: Tensor, indices: Tensor, view: int) -> Tensor:
    """Return uint8 images [B, 3, S, S] augmented, each as (seed, its index, view) says; the RNG is left untouched.

    The images may be on any device, ``indices`` [B] are on the host. Raises UserError where size or type change.
    """
    if isinstance(augment, Batched):
        return _same(augment, augment.change(images, draw(seed, indices, view, augment.count)), images)
    made = torch.empty_like(images)
    with torch.random.fork_rng(devices=[]):
        for row, index in enumerate(indices.tolist()):
            # torch.manual_seed would reset a GPU's generator too, in the middle of training
            torch.default_generator.manual_seed(stable_seed(seed, index, view))
            made[row] = _same(augment, augment(images[row]), images[row])
    return made


def _same(augment: Augment, made: Tensor, given: Tensor) -> Tensor:
    if made.shape != given.shape or made.dtype != given.dtype:
        raise UserError(
            f"augment: {type(augment).__name__} made {made.dtype} {tuple(made.shape)} of "
            f"{given.dtype} {tuple(given.shape)}; it must keep size and type."
        )
    return made


def describe(augment: object) -> str:
    """Return text that changes with every parameter of a transform, nested ones too, for a cache's key.

    The transforms' own ``repr`` leaves some out (the fill, for one). Raises UserError for what has no stable text.
    """
    if augment is None or isinstance(augment, bool | int | float | str):
        return repr(augment)
    if isinstance(augment, enum.Enum):
        return str(augment)
    if isinstance(augment, type):
        return augment.__qualname__
    if isinstance(augment, Tensor):
        return describe(augment.tolist())
    if isinstance(augment, nn.Module):
        own = {key: value for key, value in vars(augment).items() if key not in _OF_EVERY_MODULE}
        parts = own | dict(augment.named_buffers(recurse=False)) | dict(augment.named_children())
        return f"{type(augment).__module__}.{type(augment).__qualname__}{describe(parts)}"
    if isinstance(augment, Mapping):
        return "{" + ", ".join(sorted(f"{describe(key)}: {describe(value)}" for key, value in augment.items())) + "}"
    if isinstance(augment, list | tuple):
        return "[" + ", ".join(map(describe, augment)) + "]"
    raise UserError(f"augment: {augment!r} has no stable description; use transforms with plain parameters.")
