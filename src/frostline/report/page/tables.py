"""The report's tables for other programs: every run as CSV, the results as LaTeX."""

from collections.abc import Iterator

from frostline.files.csv_tables import make_csv_line
from frostline.report.page.escaping import escape_tex
from frostline.report.read.study import Study
from frostline.report.statistics.analysis import Analysis, Mean
from frostline.report.statistics.foretelling import name_frozen_taps


def make_results_csv(analysis: Analysis) -> str:
    """Return results.csv: a line for each run, with what it was, how it ended, its test scores and its costs.

    Costs are in seconds, bytes and floating-point operations; what a run does not know is empty. ``frozen_tap``, where
    there are depth profiles, is the depth to which a run's network stays frozen.
    """
    runs = analysis.comparison.runs
    axes = list(dict.fromkeys(axis for run in runs for axis, _ in run.block))
    scores = list(dict.fromkeys(name for run in runs for name in run.scores))
    costs = list(dict.fromkeys(name for run in runs for name in run.costs))
    heads = ["label", *axes, "seed", "lr", "epochs", "status", "reason", *(f"test_{name}" for name in scores), *costs]
    taps = name_frozen_taps(analysis.comparison)
    profiled = any(tap is not None for tap in taps)
    lines = [make_csv_line([*heads, *(["frozen_tap"] if profiled else [])])]
    for run, tap in zip(runs, taps, strict=True):
        block = dict(run.block)
        values = [
            run.label,
            *(block.get(axis) for axis in axes),
            run.seed,
            run.lr,
            run.epochs,
            run.status,
            run.reason,
            *(run.scores.get(name) for name in scores),
            *(run.costs.get(name) for name in costs),
            *([tap] if profiled else []),
        ]
        lines.append(make_csv_line(values))
    return "".join(lines)


def make_trials_csv(study: Study) -> str:
    """Return trials.csv: a line for each trial of a study, with its settings, how it ended and the run's ID."""
    keys = [str(one["key"]) for one in study.space]
    heads = ["trial", *keys, f"val_{study.metric}", "status", "reason", "epochs", "seconds", "same_as", "run"]
    lines = [make_csv_line(heads)]
    for one in study.trials:
        said = dict(override.split("=", 1) for override in one.overrides if "=" in override)
        ended = [one.value, one.status, one.reason, one.epochs, one.seconds, one.same_as, one.id]
        values = [one.number, *(said.get(key) for key in keys), *ended]
        lines.append(make_csv_line(values))
    return "".join(lines)


def make_results_tex(analysis: Analysis) -> str:
    """Return table.tex: a booktabs table of means with their 95% intervals, the best bold, ties with a dagger."""
    blocks = analysis.blocks if len(analysis.blocks) > 1 else []
    heads = [
        "strategy",
        "all blocks" if blocks else f"test {analysis.name}",
        *(analysis.keys[block] for block in blocks),
    ]
    lines = [
        "% needs \\usepackage{booktabs,textcomp}; bold: the best mean; dagger: not told apart from it",
        f"% test {escape_tex(analysis.name)}, mean [95% interval over seeds]",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        f"{' & '.join(escape_tex(head) for head in heads)} \\\\",
        "\\midrule",
        *_rows(analysis),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _rows(analysis: Analysis) -> Iterator[str]:
    blocks = [None, *analysis.blocks] if len(analysis.blocks) > 1 else [None]
    for label in analysis.labels:
        found = [_tex(analysis.score(label, block)) for block in blocks]
        if label == analysis.best:
            found = [f"\\textbf{{{one}}}" for one in found[:1]] + found[1:]
        mark = "\\textsuperscript{\\textdagger}" if label in analysis.verdict.ties else ""
        yield f"{escape_tex(label)}{mark} & {' & '.join(found)} \\\\"


def _tex(found: Mean | None) -> str:
    if found is None:
        return "--"
    ends = found.interval
    return f"{found.mean:.3f}" + (f" [{ends.low:.3f}, {ends.high:.3f}]" if ends else "")
