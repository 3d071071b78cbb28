"""What a reader must beware of before believing a comparison."""

from collections import Counter
from collections.abc import Iterator

from frostline.report.read.runs import RunSummary, as_object, at, parse_shared
from frostline.report.statistics.analysis import Analysis
from frostline.units import join_names, plural

DRAWN_BY_SEED = ("num_per_class", "fraction")


def warnings(analysis: Analysis) -> list[str]:
    """Return a sentence for each."""
    return [*_failed(analysis), *_data(analysis), *_versions(analysis), *_machines(analysis), *_metrics(analysis)]


def _failed(analysis: Analysis) -> Iterator[str]:
    counts = Counter(run.status for run in analysis.failures)
    if counts:
        said = join_names([f"{number} {status}" for status, number in counts.items()])
        every = plural(len(analysis.comparison.runs), "run")
        yield (
            f"{sum(counts.values()):,} of {every} have no result ({said}). They are in no mean; the reasons stand "
            "below, under No result."
        )


def _done(analysis: Analysis) -> Iterator[RunSummary]:
    return (run for label in analysis.labels for run in analysis.cell(label, None))


def _data(analysis: Analysis) -> Iterator[str]:
    """Yield where runs that should share their data do not, by the fingerprints in their records.

    Examples drawn by seed may differ between seeds, not within one.
    """
    prints: dict[tuple[str, int | None], set[str]] = {}
    for run in _done(analysis):
        if fingerprint := at(parse_shared(run.data), "fingerprint"):
            config = as_object(parse_shared(run.config).get("data"))
            drawn = any(config.get(key) is not None for key in DRAWN_BY_SEED)
            key = analysis.keys[run.block], run.seed if drawn else None
            prints.setdefault(key, set()).add(str(fingerprint)[:12])
    for (block, seed), found in prints.items():
        if len(found) > 1:
            which = "".join([f" on {block}" if block else "", "" if seed is None else f" of seed {seed}"])
            yield (
                f"The runs{which} did not use the same data ({len(found)} fingerprints: "
                f"{join_names(sorted(found), 6)}), so they are not comparable."
            )


def _versions(analysis: Analysis) -> Iterator[str]:
    made = {run.made for run in _done(analysis)}
    found = [as_object(at(parse_shared(one), "versions")) for one in made]
    names = sorted({name for one in found for name in one if len({other.get(name) for other in found}) > 1})
    commits = {at(parse_shared(one), "git", "commit") for one in made}
    if len(commits) > 1:
        names.append("the git commit")
    if names:
        differ = join_names(names)
        yield f"Not all runs were made by the same programs: {differ} differ. How it was done says who had what."


def _machines(analysis: Analysis) -> Iterator[str]:
    if len(analysis.machines) > 1:
        yield (
            f"The runs were measured on different machines ({join_names(analysis.machines, 6)}), so their times and "
            "memory are not comparable, and the verdict says nothing of time. How it was done says who had what."
        )


def _metrics(analysis: Analysis) -> Iterator[str]:
    found = {run.monitor for run in _done(analysis) if run.monitor}
    if len(found) > 1:
        yield f"The runs were selected by different validation metrics: {join_names(sorted(found))}."
