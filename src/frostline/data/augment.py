"""Random augmentations made a pure function of (seed, sample index, view), so that what they make can be cached."""

import enum
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from frostline.data.order import stable_seed
from frostline.errors import UserError

Augment = Callable[[Tensor], Tensor]
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def none() -> None:
    """No augmentation: all views are one."""


class Light(nn.Module):
    """Mirror with probability ``flip``, then cut out at least ``scale`` of the area and resize it to the whole.

    The mild form of the crops of Szegedy et al. 2015: made for small data sets, which strong crops starve.
    Takes and gives uint8 [3, S, S]. Raises UserError when a strength is out of range.
    """

    def __init__(self, flip: float = 0.5, scale: float = 0.8) -> None:
        super().__init__()
        if not 0 <= flip <= 1:
            raise UserError(f"augment.flip: {flip} is not a probability; it lies between 0 and 1.")
        if not 0 < scale <= 1:
            raise UserError(f"augment.scale: {scale} is not a share of the image's area; it is above 0, at most 1.")
        self.flip, self.scale = flip, scale

    def forward(self, image: Tensor) -> Tensor:
        flip, area, down, right = torch.rand(4).tolist()
        if flip < self.flip:
            image = v2.functional.horizontal_flip(image)
        height, width = image.shape[-2:]
        side = (self.scale + (1 - self.scale) * area) ** 0.5
        h, w = max(1, round(height * side)), max(1, round(width * side))
        top, left = int(down * (height - h + 1)), int(right * (width - w + 1))
        return v2.functional.resized_crop(image, top, left, h, w, [height, width], antialias=True)


def apply(augment: Augment, images: Tensor, indices: Tensor, seed: int, view: int) -> Tensor:
    """Return uint8 images [B, 3, S, S] augmented, each as (seed, its index, view) says; the RNG is left untouched.

    Only the CPU's generator is seeded: ``torch.manual_seed`` would reset a GPU's too, in the middle of training.
    """
    made = torch.empty_like(images)
    with torch.random.fork_rng(devices=[]):
        for row, index in enumerate(indices.tolist()):
            torch.default_generator.manual_seed(stable_seed(seed, index, view))
            image = augment(images[row])
            if image.shape != images[row].shape or image.dtype != images.dtype:
                raise UserError(
                    f"augment: {type(augment).__name__} made {image.dtype} {tuple(image.shape)} of "
                    f"{images.dtype} {tuple(images[row].shape)}; it must keep size and type."
                )
            made[row] = image
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
