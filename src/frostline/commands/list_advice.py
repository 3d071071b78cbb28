"""`frostline list --advice`: the advice of an output folder, one a line: what was asked, and what came of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from frostline.advice.index import read
from frostline.results.indexes import ADVICE_FILE


class AdviceRow(NamedTuple):
    """One advice; what is not known of it is None. ``test`` is of ``metric``, ``seconds`` are of all its sittings."""

    name: str
    written: float
    answer: str | None
    metric: str | None = None
    test: float | None = None
    low: float | None = None
    high: float | None = None
    alike: int | None = None
    seconds: float | None = None


def list_advice(outputs: Path) -> Iterator[AdviceRow]:
    """Yield the advice in an output folder, the newest first; of one that cannot be read no more than its name."""
    files = [(path.stat().st_mtime, path) for path in (outputs / "advice").glob(f"*/{ADVICE_FILE}")]
    for written, path in sorted(files, reverse=True):
        yield summarise_advice(path.parent.name, written, read(path.parent))


def summarise_advice(name: str, written: float, content: Mapping[str, Any] | None) -> AdviceRow:
    """Return the row of one advice."""
    if content is None:
        return AdviceRow(name, written, "damaged")
    answer, known = content["answer"], {"metric": content["metric"], "seconds": content["seconds"]}
    if answer is None:
        return AdviceRow(name, written, None, **known)
    expected = answer["expected"] or {}
    known |= {"test": answer["test"], "low": expected.get("low"), "high": expected.get("high")}
    return AdviceRow(name, written, answer["name"], alike=len(answer["alike"]), **known)
