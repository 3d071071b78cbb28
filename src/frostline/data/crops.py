"""Cutting a box out of each image of a batch and resizing it to the whole: bytes in, bytes out, wherever they are."""

from collections import defaultdict
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from frostline.data.inputs import sent


class Boxes(NamedTuple):
    """A box in each of B images, in pixels: ``top``, ``left``, ``height``, ``width`` [B], and whether it is mirrored.

    All of it lies in the host's memory as int64, ``flipped`` [B] as bool.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flipped: Tensor


def cut_out(images: Tensor, boxes: Boxes) -> Tensor:
    """Return uint8 images [B, C, H, W] of what their boxes hold, resized bilinearly to [B, C, H, W].

    Boxes are not much smaller than the images: nothing is done against aliasing where they grow. On a processor torch
    has a kernel for bytes that takes many images with boxes of one size; it is four times as fast as sampling, and
    what it makes may differ from that by one level.
    """
    return cut_by_size(images, boxes) if images.device.type == "cpu" else cut_by_sampling(images, boxes)


def cut_by_size(images: Tensor, boxes: Boxes) -> Tensor:
    """As :func:`cut_out`, in one call for all boxes of one size."""
    count, channels, height, width = images.shape
    flat = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten()
    starts = ((torch.arange(count) * height + boxes.top) * width + boxes.left) * channels
    made = torch.empty(count, height, width, channels, dtype=images.dtype)
    targets, flipped = made.unbind(), boxes.flipped.tolist()
    groups = defaultdict[tuple[int, int], list[int]](list)
    for row, size in enumerate(zip(boxes.height.tolist(), boxes.width.tolist(), strict=True)):
        groups[size].append(row)
    for (h, w), rows in groups.items():
        length = ((h - 1) * width + w) * channels  # of the bytes from a box's first pixel to its last
        lines = flat.as_strided((flat.numel() - length + 1, length), (1, 1)).index_select(0, starts[rows])
        held = lines.as_strided((len(rows), channels, h, w), (length, 1, width * channels, channels))
        dense = held.contiguous(memory_format=torch.channels_last)  # the kernel is slow with gaps
        whole = functional.interpolate(dense, (height, width), mode="bilinear")
        for row, one in zip(rows, whole.permute(0, 2, 3, 1), strict=True):  # ten times as fast as index_copy_
            targets[row].copy_(one.flip(1) if flipped[row] else one)
    return made.permute(0, 3, 1, 2)


def cut_by_sampling(images: Tensor, boxes: Boxes) -> Tensor:
    """As :func:`cut_out`, by looking up each pixel where it comes from, on any device and without waiting for it."""
    height, width = images.shape[-2:]
    top, left, tall, wide, flipped = sent(torch.stack([part.float() for part in boxes]), images.device)[..., None]
    across = torch.arange(width, device=images.device, dtype=torch.float32)
    across = torch.where(flipped > 0, width - 1 - across, across)
    x = _places(across, left, wide, width)[:, None, :].expand(-1, height, -1)
    y = _places(torch.arange(height, device=images.device), top, tall, height)[:, :, None].expand(-1, -1, width)
    grid = torch.stack([x, y], dim=-1)
    sampled = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return sampled.round().to(torch.uint8)


def _places(pixels: Tensor, start: Tensor, extent: Tensor, size: int) -> Tensor:
    """Return where pixels of the result lie in the image, from -1 to 1, not beyond the middle of a box's last ones."""
    inside = (pixels + 0.5) * (extent / size) - 0.5
    inside = torch.minimum(inside.clamp(min=0), extent - 1) + start
    return (2 * inside + 1) / size - 1
