"""Augmentation by operations drawn at random, without anything to tune but their strength, on whole batches."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from frostline.data.image import operations
from frostline.data.image.augment import Batched
from frostline.data.sending import send_numbers
from frostline.errors import UserError

FAMILIES: tuple[operations.Operation, ...] = (
    operations.keep,
    operations.transform,
    operations.adjust_brightness,
    operations.adjust_colour,
    operations.adjust_contrast,
    operations.adjust_sharpness,
    operations.posterize,
    operations.solarize,
    operations.autocontrast,
    operations.equalize,
)
"""What works on several of the 14 operations together: the second of these on all five that move pixels."""
OPERATIONS = 14
"""Nothing; shear along x and y, shift along x and y, turn; brightness, colour, contrast, sharpness; fewer bits,
negatives; the range of values stretched, or all values made as frequent."""
AT_ONCE = 4 << 20
"""Bytes of images on which a processor works together, so that what is made on the way stays in its cache."""
STEPS = 30  # of strength, above the least
SHEAR_X, SHEAR_Y, SHIFT_X, SHIFT_Y, TURN, SHARPNESS, BITS, LEVEL = 1, 2, 3, 4, 5, 9, 10, 11


@dataclass(frozen=True)
class Ranges:
    """How strong operations are at most: ``shift`` in pixels, ``turn`` in degrees, ``bits`` that are lost."""

    shear: float
    shift: float
    turn: float
    colours: float
    bits: int

    def strengths(self, chosen: Tensor, step: Tensor, sign: Tensor) -> Tensor:
        """Return the strengths [B] of chosen operations [B] at a ``step`` [B], 0 to STEPS; ``sign`` [B] is 1 or -1."""
        colours = [self.colours] * (SHARPNESS - TURN)
        most = torch.tensor(
            [0, self.shear, self.shear, self.shift, self.shift, self.turn, *colours, self.bits, 1, 0, 0],
            dtype=torch.float64,
        )
        value = most[chosen] * step / STEPS
        value = torch.where(chosen <= SHARPNESS, value * sign, value)
        value = torch.where((chosen == SHIFT_X) | (chosen == SHIFT_Y), value.trunc(), value)
        value = torch.where(chosen == BITS, 8 - value.round(), value)
        return torch.where(chosen == LEVEL, 1 - value, value)


def make_matrices(chosen: Tensor, strength: Tensor, height: int, width: int) -> Tensor:
    """Return [B, 6] for `frostline.data.image.operations.transform`; shears leave the upper left corner where it is."""
    value = [torch.where(chosen == one, strength, 0) for one in range(TURN + 1)]
    cosine, sine = torch.cos(torch.deg2rad(value[TURN])), torch.sin(torch.deg2rad(value[TURN]))
    shift_x = value[SHEAR_X] * height / 2 - value[SHIFT_X]
    shift_y = value[SHEAR_Y] * width / 2 - value[SHIFT_Y]
    return torch.stack([cosine, value[SHEAR_X] - sine, shift_x, value[SHEAR_Y] + sine, cosine, shift_y], dim=1)


def apply_operations(images: Tensor, chosen: Tensor, strength: Tensor) -> Tensor:
    """Return uint8 images [B, C, H, W] after operations: each ``chosen`` [steps, B] with a ``strength`` [steps, B].

    Those of one family are worked on together; the numbers lie in the host's memory, so that no device is waited for.
    """
    most = max(1, AT_ONCE // images[0].numel()) if images.device.type == "cpu" else len(images)
    if len(images) > most:
        pieces = zip(images.split(most), chosen.split(most, dim=1), strength.split(most, dim=1), strict=True)
        return torch.cat([apply_operations(*piece) for piece in pieces])
    images, place = images.contiguous(), torch.arange(len(images))
    for operation, its_strength in zip(chosen, strength, strict=True):
        family = torch.where(operation > 0, (operation - TURN + 1).clamp(min=1), 0)
        numbers = make_matrices(operation, its_strength, *images.shape[-2:])
        numbers[:, 0] = torch.where(family == 1, numbers[:, 0], its_strength)
        place = place[order := family[place].argsort(stable=True)]
        counts = family.bincount(minlength=len(FAMILIES)).tolist()
        parts = images.index_select(0, send_numbers(order, images.device)).split(counts)
        given = send_numbers(numbers[place].float(), images.device).split(counts)
        work = zip(FAMILIES, parts, given, strict=True)
        images = torch.cat([family(part, own) if len(part) else part for family, part, own in work])
    return images.index_select(0, send_numbers(place.argsort(), images.device))


class TrivialAugment(Batched):
    """One random operation of random strength: TrivialAugment, wide, of Mueller & Hutter 2021, arXiv:2103.10158.

    As torchvision's TrivialAugmentWide: one of 31 strengths, the nearest pixels, black where there is none.
    """

    most: ClassVar = Ranges(shear=0.99, shift=32, turn=135, colours=0.99, bits=6)
    count = 3

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        chosen = (numbers[:, 0] * OPERATIONS).long()
        step = (numbers[:, 1] * (STEPS + 1)).floor()
        strength = self.most.strengths(chosen, step, _signs(numbers[:, 2]))
        return apply_operations(images, chosen[None], strength[None])


class RandAugment(Batched):
    """``num_ops`` random operations of strength ``magnitude``, from 0 to 30: RandAugment, Cubuk et al. 2020.

    As torchvision's (arXiv:1909.13719), with the nearest pixels, and black where there is none. Raises UserError when
    a number is out of range.
    """

    def __init__(self, num_ops: int, magnitude: int) -> None:
        super().__init__()
        if num_ops < 0:
            raise UserError(f"augment.num_ops: {num_ops} is not a number of operations of 0 or more.")
        if not 0 <= magnitude <= STEPS:
            raise UserError(f"augment.magnitude: {magnitude} is out of range; it lies between 0 and {STEPS}.")
        self.num_ops, self.magnitude = num_ops, magnitude
        self.count = 2 * num_ops

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        most = Ranges(shear=0.3, shift=150 / 331 * images.shape[-1], turn=30, colours=0.9, bits=4)
        chosen = (numbers[:, ::2].T * OPERATIONS).long()
        step = torch.full(chosen.shape, self.magnitude)
        return apply_operations(images, chosen, most.strengths(chosen, step, _signs(numbers[:, 1::2].T)))


def _signs(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0.5, -1.0, 1.0)
