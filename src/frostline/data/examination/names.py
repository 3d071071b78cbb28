"""A few names of many samples, as a person can read them."""

from collections.abc import Iterable, Sequence

from frostline.data.examination.facts import Named
from frostline.errors import escape_unprintable

NAMES = 5
LONGEST = 120


def show_name(name: object) -> str:
    """Return a name as one line that a terminal can show; one that is very long without its middle."""
    line = escape_unprintable(str(name))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]}...{line[-LONGEST // 2 :]}"


def name_samples(names: Sequence[str], places: Iterable[int]) -> Named:
    """Return how many samples stand at ``places``, and the names of the first."""
    held = list(places)
    return Named(count=len(held), names=[show_name(names[place]) for place in held[:NAMES]])
