"""The operations of AutoAugment's family on batches of bytes, each image with a strength of its own.

They do what torchvision's do to one image; only where that leaves a pixel half-way between two do they differ. All sums
are of integers, so that what becomes of an image does not depend on those beside it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

Operation = Callable[[Tensor, Tensor], Tensor]
"""It takes uint8 images [B, C, H, W] and numbers [B, 6], of which most use the first: the strength."""


def keep(images: Tensor, _: Tensor) -> Tensor:
    """Return the images as they are."""
    return images


def transform(images: Tensor, numbers: Tensor) -> Tensor:
    """Return uint8 images [B, C, H, W], each pixel from where a matrix says, the nearest, or black.

    ``numbers`` [B, 6] are its two rows. It maps (x, y, 1), in pixels from the middle.
    """
    count, channels, height, width = images.shape
    a, b, c, d, e, f = numbers.T[..., None, None]
    x = torch.arange(width, device=images.device, dtype=torch.float32)[None, None] - (width - 1) / 2
    y = torch.arange(height, device=images.device, dtype=torch.float32)[None, :, None] - (height - 1) / 2
    column = (x * a + (y * b + (c + (width + 1) / 2))).round_().clamp_(0, width + 1)  # in an image with a black margin
    row = (x * d + (y * e + (f + (height + 1) / 2))).round_().clamp_(0, height + 1)
    places = row.mul_(width + 2).add_(column).long().view(count, 1, -1).expand(-1, channels, -1)
    framed = functional.pad(images, (1, 1, 1, 1)).flatten(2)
    return framed.gather(2, places).view(images.shape)


def adjust_brightness(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images, their values times 1 + the strength."""
    return _to_bytes(images.float().mul_(1 + _strength(numbers)))


def adjust_colour(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images with more colour (strength above 0) or with less."""
    return _blend(images, _grey(images), numbers)


def adjust_contrast(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images with more contrast to the mean of their grey (strength above 0) or with less."""
    sums = _grey(images).to(torch.int32).sum(dim=(1, 2, 3), keepdim=True, dtype=torch.int64)
    return _blend(images, sums.float() / images[0, 0].numel(), numbers)


def adjust_sharpness(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images sharper (strength above 0) or more blurred; the outermost pixels stay."""
    if min(images.shape[-2:]) <= 2:
        return images
    values = images.to(torch.int16)
    middle = values[..., 1:-1, 1:-1]
    lines = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    sums = lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:] + 4 * middle
    made = images.clone()
    made[..., 1:-1, 1:-1] = _blend(middle, sums.float().div_(13).round_(), numbers)
    return made


def posterize(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images with so many of the highest bits of each value."""
    return images & (256 - 2 ** (8 - _strength(numbers).long())).to(torch.uint8)


def solarize(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images with values from a share of 255 upwards turned into their negatives."""
    values = images.to(torch.int16)
    below = (values - (255 * _strength(numbers)).ceil().to(torch.int16)) >> 15  # all bits of it, or none
    return (values ^ (~below & 255)).to(torch.uint8)  # 30 times as fast as a choice between bytes


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Return the images, each channel's values stretched to reach from 0 to 255."""
    return v2.functional.autocontrast(images)


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Return the images, each channel with as many pixels of each value as of others, as far as that can be."""
    return v2.functional.equalize(images)


def _strength(numbers: Tensor) -> Tensor:
    return numbers[:, 0].view(-1, 1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    """Return whole numbers [B, 1, H, W], as float32."""
    red, green, blue = images.float().split(1, dim=1)
    return (red * 0.2989).add_(green * 0.587).add_(blue * 0.114).floor_()


def _blend(images: Tensor, others: Tensor, numbers: Tensor) -> Tensor:
    factor = 1 + _strength(numbers)
    return _to_bytes(images.float().mul_(factor).add_(others * (1 - factor)))


def _to_bytes(values: Tensor) -> Tensor:
    """Return values as bytes; by way of 16 bits, which takes a third of the time."""
    return values.clamp_(0, 255).to(torch.int16).to(torch.uint8)
