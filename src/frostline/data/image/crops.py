"""Cutting a box out of each image of a batch and resizing it to the whole: bytes in, bytes out, wherever they are."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from frostline.data.sending import send_numbers

ALONE = 1 << 15
"""Elements from which torch calls for threads of its own: each of ours would start some, and wait for the machine."""
LARGE = 4 << 20
"""Bytes of images from which starting threads pays."""


class Boxes(NamedTuple):
    """A box in each of B images, in pixels: ``top``, ``left``, ``height``, ``width`` [B], and whether it is mirrored.

    All of it lies in the host's memory as int64, ``flipped`` [B] as bool.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flipped: Tensor


def resize_boxes(images: Tensor, boxes: Boxes) -> Tensor:
    """Return uint8 images [B, C, H, W] of what their boxes hold, resized bilinearly to [B, C, H, W].

    Boxes lie in their images, so they only grow, which needs nothing against aliasing. On a processor torch
    has a kernel for bytes that takes many images with boxes of one size; it is four times as fast as sampling, and
    what it makes may differ from that by one level.
    """
    return resize_by_size(images, boxes) if images.device.type == "cpu" else resize_by_sampling(images, boxes)


def resize_by_size(images: Tensor, boxes: Boxes) -> Tensor:
    """As :func:`resize_boxes`, in one call for all boxes of one size; threads share the sizes of large images."""
    count, channels, height, width = images.shape
    pixels = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()
    made = np.empty_like(pixels)
    top, left, flipped = boxes.top.tolist(), boxes.left.tolist(), boxes.flipped.tolist()
    by_size = defaultdict[tuple[int, int], list[int]](list)
    for row, size in enumerate(zip(boxes.height.tolist(), boxes.width.tolist(), strict=True)):
        by_size[size].append(row)
    lines = max(1, ALONE // (width * channels))

    def resize(one_size: tuple[tuple[int, int], list[int]]) -> None:
        (h, w), rows = one_size
        held = np.empty((len(rows), h, w, channels), np.uint8)
        for place, row in enumerate(rows):
            held[place] = pixels[row, top[row] : top[row] + h, left[row] : left[row] + w]
        resized = functional.interpolate(torch.from_numpy(held).permute(0, 3, 1, 2), (height, width), mode="bilinear")
        for row, one in zip(rows, resized.permute(0, 2, 3, 1), strict=True):
            for start in range(0, height, lines) if flipped[row] else ():
                made[row, start : start + lines] = one[start : start + lines].flip(1).numpy()
            if not flipped[row]:
                made[row] = one.numpy()

    if images.numel() < LARGE or torch.get_num_threads() == 1:
        list(map(resize, by_size.items()))
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(resize, by_size.items()))
    return torch.from_numpy(made).permute(0, 3, 1, 2)


def resize_by_sampling(images: Tensor, boxes: Boxes) -> Tensor:
    """As :func:`resize_boxes`, by looking up where each pixel comes from, on any device and without waiting for it."""
    height, width = images.shape[-2:]
    top, left, tall, wide, flipped = send_numbers(torch.stack([part.float() for part in boxes]), images.device)[
        ..., None
    ]
    across = torch.arange(width, device=images.device, dtype=torch.float32)
    across = torch.where(flipped > 0, width - 1 - across, across)
    x = _places(across, left, wide, width)[:, None, :].expand(-1, height, -1)
    y = _places(torch.arange(height, device=images.device), top, tall, height)[:, :, None].expand(-1, -1, width)
    grid = torch.stack([x, y], dim=-1)
    sampled = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return sampled.round().to(torch.uint8)


def _places(pixels: Tensor, start: Tensor, extent: Tensor, size: int) -> Tensor:
    """Return where the result's pixels lie in the image, from -1 to 1, within the centres of the box's outer pixels."""
    inside = (pixels + 0.5) * (extent / size) - 0.5
    inside = torch.minimum(inside.clamp(min=0), extent - 1) + start
    return (2 * inside + 1) / size - 1
