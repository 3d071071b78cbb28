"""What each strategy cost, and accuracy against the number of training examples."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean

from frostline.report.page.charts import Axis, Line, draw_lines
from frostline.report.page.parts import Figure, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_DRAWN, MOST_ROWS
from frostline.report.read.runs import Block, as_object, parse_shared, read_number
from frostline.report.statistics.analysis import Analysis
from frostline.units import format_bytes, format_count, format_duration, format_flops, format_number

Column = tuple[str, str, Callable[[float | None], str]]
EXAMPLES = ("data.num_per_class", "data.fraction")

# cost, column, how it is shown
SPENT: Sequence[Column] = (
    ("seconds", "wall time", format_duration),
    ("seconds_saved", "saved by the cache", format_duration),
    ("peak_host_bytes", "peak memory", format_bytes),
    ("peak_device_bytes", "of the GPU", format_bytes),
    ("checkpoint_bytes", "checkpoint", format_bytes),
    ("trainable", "trainable parameters, most", format_number),
    ("trainable_last", "last phase", format_number),
)
COMPUTED: Sequence[Column] = (
    ("forward_flops", "forward", format_flops),
    ("backward_flops", "backward", format_flops),
    ("flops", "both", format_flops),
    ("flops_saved", "forward, saved by the cache", format_flops),
)


def make_costs(analysis: Analysis) -> Section | None:
    """Return what one run of each strategy cost; costs that no record knows are left out with a word."""
    labels = [label for label in analysis.labels if analysis.cell(label, None)]
    if not labels:
        return None
    where = "seeds" if len(analysis.blocks) == 1 else "seeds and blocks"
    parts: list[Part] = [
        *_table(analysis, labels, SPENT, "costs", f"Costs of one run, means over {where}"),
        *_table(analysis, labels, COMPUTED, "flops", f"Floating-point operations of one run, means over {where}"),
        Text(
            "Wall time is the run's own, without the start of the process. Saved by the cache is what the same run "
            "would have spent without it, estimated. FLOPs are of the whole run as it was run: training, validation "
            "and test."
        ),
    ]
    parts += [Text(said) for said in _describe_shared(analysis)]
    if not any(analysis.cost(label, "flops") for label in labels):
        parts.append(Text("These records do not say FLOPs."))
    return Section("costs", "Costs", parts)


def _table(
    analysis: Analysis, labels: Sequence[str], columns: Sequence[Column], id: str, caption: str
) -> Iterator[Table]:
    """Yield the table of those costs that any record knows."""
    known = [column for column in columns if any(_is_known(analysis, label, column[0]) for label in labels)]
    if known:
        titles = [("strategy", False), *((title, True) for _, title, _ in known)]
        rows = [
            [TableCell(label), *(_cell(analysis, label, name, form) for name, _, form in known)] for label in labels
        ]
        yield Table(id, caption, titles, rows[:MOST_ROWS])


def _is_known(analysis: Analysis, label: str, name: str) -> bool:
    """Return whether a cost says anything: the last phase's parameters do where they are not the most of any phase."""
    found = analysis.cost(label, name)
    most = analysis.cost(label, "trainable") if name == "trainable_last" else None
    return found is not None and (most is None or most.mean != found.mean)


def _cell(analysis: Analysis, label: str, name: str, form: Callable[[float | None], str]) -> TableCell:
    found = analysis.cost(label, name)
    return TableCell(form(found.mean), found.mean) if found else TableCell(form(None))


def _describe_shared(analysis: Analysis) -> Iterator[str]:
    """Yield what the comparison cost beside its runs."""
    comparison = analysis.comparison
    extraction = as_object(comparison.extraction)
    if (spent := read_number(extraction.get("seconds"))) is not None:
        passes = int(read_number(extraction.get("passes")) or 0)
        over = f" in {format_count(passes, 'pass', 'passes')} over the data" if passes else ""
        yield (
            f"The caches that the runs share were filled before them{over}: {format_duration(spent)}, "
            f"{format_bytes(read_number(extraction.get('bytes')))} on disk. That time is in no run's."
        )
    profiles = {id(one.content): one.content for one in comparison.profiles if one.content is not None}
    if profiles:
        spent = sum(sum(one["seconds"].values()) for one in profiles.values())
        yield (
            f"Reading the frozen network at every depth, for {format_count(len(profiles), 'depth profile')}, took "
            f"{format_duration(spent)} when that was done, before the runs. That time is in no run's."
        )
    if comparison.wall_seconds is not None:
        total = sum(run.costs.get("seconds", 0.0) for run in [*comparison.runs, *comparison.trials])
        yield (
            f"The whole comparison took {format_duration(comparison.wall_seconds)} of wall time; its runs and trials "
            f"took {format_duration(total)} one after another."
        )


def make_examples(analysis: Analysis) -> Section | None:
    """Return the test metric against the number of training examples, where the comparison varies it."""
    axes = [axis for axis in EXAMPLES if len({dict(block).get(axis) for block in analysis.blocks}) > 1]
    if not axes:
        return None
    groups: dict[Block, list[Block]] = {}
    for block in analysis.blocks:
        groups.setdefault(tuple(pair for pair in block if pair[0] not in axes), []).append(block)
    figures = [
        _examples_figure(analysis, rest, blocks, place)
        for place, (rest, blocks) in enumerate(list(groups.items())[:MOST_BLOCKS], 1)
    ]
    return Section("examples", f"{analysis.name[0].upper()}{analysis.name[1:]} against training examples", figures)


def _examples_figure(analysis: Analysis, rest: Block, blocks: Sequence[Block], place: int) -> Figure:
    found = [line for label in analysis.labels[:MOST_DRAWN] if (line := _examples_line(analysis, label, blocks))]
    where = f" on {', '.join(level for _, level in rest)}" if rest else ""
    caption = f"Test {analysis.name}{where} against the number of training examples: means over seeds, 95% intervals."
    x = Axis("training examples", log=True)
    draw = partial(draw_lines, found, x, Axis(f"test {analysis.name}"), styles=analysis.styles)
    return make_figure(f"examples-{place}", caption, draw)


def _examples_line(analysis: Analysis, label: str, blocks: Sequence[Block]) -> Line | None:
    points = []
    for block in blocks:
        sizes = [size for run in analysis.cell(label, block) if (size := _training_examples(run.data))]
        score = analysis.score(label, block)
        if sizes and score:
            spread = score.interval
            low, high = (spread.low, spread.high) if spread else (score.mean, score.mean)
            points.append((fmean(sizes), score.mean, low, high))
    if not points:
        return None
    xs, ys, lows, highs = zip(*sorted(points), strict=True)
    return Line(label, xs, ys, lows, highs)


def _training_examples(data: str) -> float | None:
    return read_number(as_object(parse_shared(data).get("counts")).get("train"))
