"""Sequences of a split end to end, made once of its texts and kept in a file that later runs read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
from torch import Tensor

from frostline.data.inputs import Preprocess, Ragged, digest, pad_sequences
from frostline.errors import UserError
from frostline.files.atomic import write_atomic

FORMAT = 1
WORTHWHILE = 2**20
"""Characters: less is tokenised in less than half a second, and not worth a file."""


class Writing(Preprocess, Protocol):
    """How a backbone wants its texts: sequences [T] of whole numbers, or uint8 pictures [N, 3, S, S]."""

    def encode(self, texts: Sequence[str]) -> list[Tensor] | Tensor:
        """Return one sequence, at most ``size`` long, or one picture, for each text."""
        ...

    @property
    def room(self) -> str:
        """What bounds a text, as a note says it: "longer than ..."."""
        ...

    def count_cut(self, texts: Sequence[str], made: list[Tensor] | Tensor) -> int:
        """Return how many of the texts that were ``made`` into inputs lost their end."""
        ...


@dataclass(frozen=True)
class Encoded:
    """Sequences as int32 values end to end and their ``lengths`` [N], of which ``cut`` were longer than allowed."""

    values: Tensor
    lengths: Tensor
    cut: int

    @cached_property
    def _ends(self) -> Tensor:
        return self.lengths.cumsum(0)

    def take(self, indices: Tensor) -> Ragged:
        """Return these sequences as a batch of int64."""
        ends = self._ends[indices]
        starts = ends - self.lengths[indices]
        rows = zip(starts.tolist(), ends.tolist(), strict=True)
        return pad_sequences([self.values[start:end].long() for start, end in rows])


def encode(preprocess: Writing, texts: Sequence[str], fingerprint: str, folder: Path | None) -> Encoded:
    """Return the sequences of texts, from the file in ``folder`` where they were made before.

    ``fingerprint`` stands for the texts. A damaged file is made anew. Raises UserError where ``folder`` cannot be
    written.
    """
    if folder is None or sum(map(len, texts)) < WORTHWHILE:
        return _encode(preprocess, texts)
    file = folder / f"{digest(FORMAT, preprocess, fingerprint)}.tokens"
    if (found := _read(file)) is not None:
        return found
    made = _encode(preprocess, texts)
    tensors = {"values": made.values, "lengths": made.lengths, "cut": torch.tensor(made.cut)}
    content = safetensors.torch.save(tensors)
    try:
        write_atomic(file, sha256(content).digest() + content)
    except OSError as error:
        raise UserError(
            f"data.token_cache: {file} cannot be written ({error.strerror}); give another folder, or null."
        ) from error
    return made


def _encode(preprocess: Writing, texts: Sequence[str]) -> Encoded:
    sequences = preprocess.encode(texts)
    assert isinstance(sequences, list)
    cut = preprocess.count_cut(texts, sequences)
    return Encoded(torch.cat(sequences).int(), torch.tensor([len(sequence) for sequence in sequences]), cut)


def _read(file: Path) -> Encoded | None:
    """Return what a file holds, or None where there is none or it is not what was written."""
    if not file.is_file():
        return None
    content = file.read_bytes()
    sum_, content = content[:32], content[32:]
    if sha256(content).digest() != sum_:
        return None
    tensors = safetensors.torch.load(content)
    return Encoded(tensors["values"], tensors["lengths"], int(tensors["cut"]))
