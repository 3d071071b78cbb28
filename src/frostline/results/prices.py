"""What each price buys: of many runs those that are better than all that cost less."""

from collections.abc import Mapping, Sequence
from typing import Any


def list_prices(rows: Sequence[Mapping[str, Any]], sign: int) -> list[Mapping[str, Any]]:
    """Return the rows that are better than all that cost less, the cheapest first; what cost nothing is left out.

    Each has ``seconds`` and a ``value``, None where there is none; of ``sign`` 1 more is better, of -1 less.
    """
    found: list[Mapping[str, Any]] = []
    known = [one for one in rows if one["value"] is not None and one["seconds"] > 0]
    for row in sorted(known, key=lambda one: one["seconds"]):
        if not found or sign * row["value"] > sign * found[-1]["value"]:
            found.append(row)
    return found
