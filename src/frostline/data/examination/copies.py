"""Samples of the same content, within a split and across two."""

from collections.abc import Sequence
from typing import NamedTuple

from frostline.data.examination.facts import Copies
from frostline.data.examination.names import NAMES, show_name
from frostline.data.loading import Split
from frostline.errors import UserError

Groups = dict[str, dict[bytes, int]]
"""By content: the labels that samples with it have, each with the place of the first."""


class Side(NamedTuple):
    """The samples of a split: their names, digests and labels. A label that is not known is like itself."""

    names: Sequence[str]
    digests: Sequence[str]
    labels: Sequence[bytes]


def read_side(name: str, split: Split) -> Side:
    """Return a split's samples. Raises UserError where they are others each time they are read."""
    digests = split.digests
    if digests is None:
        raise UserError(f"the samples of {name} are others each time they are read")
    return Side(split.names, digests, [label.tobytes() for label in split.labels.numpy()])


def find_copies(first: Side, second: Side) -> Copies:
    """Return which samples of ``second`` have the content of one of ``first``; of one split: of an earlier one.

    They are relabelled where any sample of ``first`` with this content has another label.
    """
    within = first is second
    groups: Groups = {}
    if not within:
        for place in range(len(first.names)):
            _add(groups, first, place)
    same, relabelled = list[tuple[int, int]](), list[tuple[int, int]]()
    for place, (digest, label) in enumerate(zip(second.digests, second.labels, strict=True)):
        places = groups.get(digest, {})
        other = next((one for known, one in places.items() if known != label), None)
        if other is not None:
            relabelled.append((other, place))
        elif places:
            same.append((places[label], place))
        if within:
            _add(groups, second, place)
    few = [*relabelled, *same][:NAMES]
    pairs = [(show_name(first.names[one]), show_name(second.names[other])) for one, other in few]
    return Copies(samples=len(same) + len(relabelled), relabelled=len(relabelled), pairs=pairs)


def _add(groups: Groups, side: Side, place: int) -> None:
    """Add a sample; what is no digest says why a file could not be read, and is like nothing."""
    if side.digests[place].isalnum():
        groups.setdefault(side.digests[place], {}).setdefault(side.labels[place], place)
