"""Samples before they are decoded: their names, labels and contents, and what is left out of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.units import join_lines


@dataclass(frozen=True)
class Listing:
    """Samples before they are decoded: a stable name, a label and the content for each.

    ``content`` holds real paths of files, texts, or pixels that are in memory already, as an array.
    """

    names: list[str]
    labels: list[str]
    content: Sequence[Any] | NDArray[Any]

    @classmethod
    def of(cls, samples: Iterable[tuple[str, str, Any]]) -> "Listing":
        """Return the samples with these names, labels and contents."""
        rows = list(samples)
        return cls([name for name, _, _ in rows], [label for _, label, _ in rows], [content for _, _, content in rows])

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Sequence[int]) -> "Listing":
        """Return the samples at ``indices``, in that order."""
        held = self.content
        content = held[list(indices)] if isinstance(held, np.ndarray) else [held[i] for i in indices]
        return Listing([self.names[i] for i in indices], [self.labels[i] for i in indices], content)


@dataclass(frozen=True)
class Found:
    """What a reader found: its splits, of which val and test may be missing, and its classes in their order.

    None where the reader does not know them: they are the task's to find in the labels.
    """

    where: str
    splits: Mapping[str, Listing]
    classes: Sequence[str] | None
    notes: list[str] = field(default_factory=list)


def leave_out(
    found: Found, unfit: Callable[[Listing], Sequence[str | None]], noun: str, skip: bool
) -> tuple[Found, list[str]]:
    """Return what was found without the samples that ``unfit`` gives a reason for, and a note that counts them.

    Raises UserError with the reasons, unless ``skip`` is what ``data.on_bad`` says.
    """
    lines: list[str] = []
    splits: dict[str, Listing] = {}
    for name, listing in found.splits.items():
        reasons = unfit(listing)
        lines += [f"{which} {reason}" for which, reason in zip(listing.names, reasons, strict=True) if reason]
        splits[name] = listing.take([index for index, reason in enumerate(reasons) if reason is None])
    if not lines:
        return found, []
    if not skip:
        raise UserError(
            f"{found.where}: {len(lines)} {noun} cannot be used: {join_lines(lines)}. Repair or remove them, or set "
            f"data.on_bad=skip."
        )
    return replace(found, splits=splits), [f"left out {len(lines)} {noun} that cannot be used: {join_lines(lines)}"]


def from_rows(splits: Mapping[str, Listing], where: str, split_column: str) -> Found:
    """Return the rows of a table as found, its splits in their order.

    Raises UserError where nothing is of train.
    """
    if "train" not in splits:
        raise UserError(f"{where} has no row whose {split_column} is train.")
    return Found(where, {name: splits[name] for name in SPLITS if name in splits}, None)
