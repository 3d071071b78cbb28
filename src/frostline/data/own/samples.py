"""Samples of the user's own, read one by one: their inputs, their labels, a digest of each, and what is wrong."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frostline.data.order import make_seed
from frostline.errors import UserError

PROBES = 64
"""Samples that are read twice to see whether they are augmented: one that every twentieth is would show in 96%."""
Label = str | int | float | list[Any]


@dataclass(frozen=True)
class SamplesLook:
    """What was seen of samples: the shape and type of one, and of each its label, its digest and what is wrong with it.

    ``augmented`` samples are other ones each time they are read. ``held`` [N, *shape] are those kept in memory.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    labels: list[Label]
    digests: list[str]
    reasons: list[str | None]
    augmented: bool
    held: Tensor | None


class Samples:
    """The samples of one split, from a pair of tensors or from a dataset of pairs, as (inputs, label).

    Each is read with Python's, NumPy's and torch's global generators seeded by what the caller says, so that an
    augmented one is a function of that. What is not augmented and fits is kept in memory when it is first looked at.
    """

    def __init__(self, found: Any, name: str) -> None:
        self.found, self.name = found, name
        self._look: SamplesLook | None = None
        self._version: int | None = None

    def __len__(self) -> int:
        return len(self.found[0] if isinstance(self.found, tuple) else self.found)

    def look(self, memory_bytes: float) -> SamplesLook:
        """Read every sample, once, and keep what fits. Raises UserError where there is none, or none can be used."""
        if not len(self):
            raise UserError(f"data: {self.name} has no samples.")
        version = self.found[0]._version if isinstance(self.found, tuple) else None
        if self._look is None or version != self._version:  # tensors were written to since
            self._look = self._read_tensors() if isinstance(self.found, tuple) else self._read_all(memory_bytes)
            self._version = version
        return self._look

    def read(self, index: int, *seed: object) -> tuple[Tensor, Label]:
        """Return one sample under a seed. Raises UserError that says what it is, where it is no usable pair."""
        with seeding_generators(*seed, index):
            pair = self.found[index]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UserError(f"is no pair of inputs and label but a {type(pair).__name__}")
        inputs, label = pair
        if not isinstance(inputs, Tensor | np.ndarray):
            raise UserError(f"has a {type(inputs).__name__} for inputs, not a tensor")
        return make_plain_inputs(inputs), make_plain_label(label)

    def stack(self, indices: Sequence[int], *seed: object) -> Tensor:
        """Return the inputs [B, *shape] of some samples, read now. Raises UserError for one that has changed."""
        try:
            return torch.stack([self.read(index, *seed)[0] for index in indices])
        except (UserError, RuntimeError) as error:
            raise UserError(f"data: a sample of {self.name} has changed since it was first read ({error}).") from error

    def _read_tensors(self) -> SamplesLook:
        inputs, labels = self.found
        if len(inputs) != len(labels):
            raise UserError(f"data: {self.name} has {len(inputs)} inputs and {len(labels)} labels; give one for each.")
        digests = [_digest(row) for row in inputs]
        plain = [make_plain_label(label) for label in labels]
        return SamplesLook(tuple(inputs.shape[1:]), inputs.dtype, plain, digests, [None] * len(plain), False, inputs)

    def _read_all(self, memory_bytes: float) -> SamplesLook:
        augmented = self._is_augmented()
        first = kept = None
        labels, digests, reasons = list[Label](), list[str](), list[str | None]()
        for index in range(len(self)):
            inputs, label, reason = self._try(index)
            if inputs is not None and first is None:
                first, fits = inputs, not augmented and len(self) * inputs.nbytes <= memory_bytes
                kept = torch.zeros(len(self), *inputs.shape, dtype=inputs.dtype) if fits else None
            if inputs is not None and first is not None and _kind(inputs) != _kind(first):
                inputs, reason = None, f"is {_kind(inputs)}, unlike others, which are {_kind(first)}"
            if inputs is not None and kept is not None:
                kept[index] = inputs
            labels.append(label)
            digests.append("" if inputs is None else _digest(inputs))
            reasons.append(reason)
        if first is None:
            raise UserError(f"data: no sample of {self.name} can be used; the first one {reasons[0]}.")
        return SamplesLook(tuple(first.shape), first.dtype, labels, digests, reasons, augmented, kept)

    def _try(self, index: int, *seed: object) -> tuple[Tensor | None, Label, str | None]:
        """Return a sample, or why it cannot be used."""
        try:
            return *self.read(index, *seed), None
        except UserError as error:
            return None, "", str(error)
        except Exception as error:  # a dataset of the user's own can raise anything
            return None, "", f"cannot be read ({type(error).__name__}: {error})"

    def _is_augmented(self) -> bool:
        """Return whether samples differ under two seeds. Raises UserError where they do so under one."""
        for index in range(min(PROBES, len(self))):
            tries = [self._try(index, view)[0] for view in (0, 0, 1)]
            one, again, other = (None if inputs is None else _digest(inputs) for inputs in tries)
            if one != again:
                raise UserError(
                    f"data: sample {index} of {self.name} is another one each time, whatever Python's, NumPy's and "
                    "torch's global generators are seeded with; let its augmentation draw from one of these."
                )
            if one != other:
                return True
        return False


def make_plain_inputs(inputs: Tensor | np.ndarray) -> Tensor:
    """Return inputs as a tensor on the processor; other floating-point numbers than float32 become that."""
    tensor = torch.as_tensor(inputs).detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor


def make_plain_label(label: Any) -> Label:
    """Return a label as a text, a number or a list of numbers. Raises UserError for anything else."""
    found: Any = label.tolist() if isinstance(label, Tensor | np.ndarray | np.generic) else label
    if isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    if isinstance(found, list | tuple) and all(isinstance(one, int | float) for one in found):
        return list(found)
    if isinstance(found, str | int | float):
        return int(found) if isinstance(found, bool) else found
    raise UserError(f"has a {type(label).__name__} for a label, not a number, a text or a row of 0 and 1")


@contextmanager
def seeding_generators(*parts: object) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global generators by ``parts``, and put their states back at the end."""
    seed = make_seed(*parts)
    with restoring_generators():
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (the global one is what datasets draw from)
        yield


@contextmanager
def restoring_generators() -> Iterator[None]:
    """Put the states of Python's, NumPy's and, on the processor, torch's global generators back at the end."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def _kind(inputs: Tensor) -> str:
    return f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}"


def _digest(inputs: Tensor) -> str:
    content = inputs.contiguous().flatten().view(torch.uint8).numpy().data
    return hashlib.sha256(f"{_kind(inputs)}\n".encode() + content).hexdigest()
