"""A report that holds one of everything, with numbers made up for the tests."""

import io
import math
from collections.abc import Callable
from functools import partial

import pytest
from PIL import Image

from frostline.report.page.charts import (
    Axis,
    Bar,
    Line,
    ScatterPoint,
    draw_intervals,
    draw_lines,
    draw_matrix,
    draw_ranking,
    draw_scatter,
)
from frostline.report.page.parts import (
    CodeBlock,
    Figure,
    Fold,
    Page,
    Pictures,
    Section,
    Table,
    TableCell,
    Text,
    Warn,
    make_figure,
)

SCORES = {
    "linear_probe": 0.862,
    "last_k(k=1)": 0.905,
    "last_k(k=2)": 0.921,
    "full": 0.934,
    "layer_decay": 0.936,
    "lp_ft": 0.938,
    "gradual": 0.929,
    "norm_only": 0.911,
}
SECONDS = dict(zip(SCORES, (4.1, 11.9, 19.5, 88.0, 91.0, 71.0, 52.0, 84.0), strict=True))
Say = Callable[[str], str]
Draw = Callable[..., Figure]


@pytest.fixture(scope="session")
def everything() -> Callable[[Say], Page]:
    """Return what makes a page of every part and chart; each of its texts has gone through a function."""
    return _page


def _page(say: Say) -> Page:
    names = {name: say(name) for name in SCORES}
    styles = {name: place for place, name in enumerate(names.values())}
    draw = partial(_figure, say, styles)
    words = [Text(say("A text.")), Warn(say("A warning."))]
    code = [CodeBlock(say("frostline compare")), Fold(say("More"), [Text(say("Folded."))])]
    sections = [
        Section("picture", say("Picture"), [*words, *_scatter(say, names, draw)]),
        Section("results", say("Results"), [_table(say, names), *_differences(say, names, draw)]),
        Section("curves", say("Curves"), _curves(say, names, draw)),
        Section("insight", say("Insight"), [*_maps(say, names, draw), Fold(say("Mistakes"), [_pictures(say)])]),
        Section("method", say("Method"), code),
    ]
    verdict = f"{say('lp_ft is best.')}\n{say('And so on.')}"
    return Page(say("digits"), verdict, sections, say("8 strategies"), [(say("24"), say("runs"))], styles)


def _figure(say: Say, styles: dict[str, int], id: str, chart: Callable[..., str], *arguments: object) -> Figure:
    return make_figure(id, say(f"About {id}."), partial(chart, *arguments, styles=styles))


def _scatter(say: Say, names: dict[str, str], draw: Draw) -> list[Figure]:
    points = [
        ScatterPoint(
            names[name], x, SCORES[name], x * 0.9, x * 1.1, SCORES[name] - 0.01, SCORES[name] + 0.01, say("3 seeds")
        )
        for name, x in SECONDS.items()
    ]
    front = [names[name] for name in ("linear_probe", "last_k(k=1)", "last_k(k=2)", "gradual", "lp_ft")]
    return [draw("cost", draw_scatter, points, Axis(say("seconds"), log=True), Axis(say("accuracy")), front)]


def _differences(say: Say, names: dict[str, str], draw: Draw) -> list[Figure]:
    gaps = {name: score - SCORES["lp_ft"] for name, score in SCORES.items()}
    bars = [Bar(names[name], gap, gap - 0.01, gap + 0.012, say("p = 0.03")) for name, gap in gaps.items()]
    order = sorted(SCORES, key=lambda name: -SCORES[name])
    ranks = {names[name]: 1 + 0.9 * place for place, name in enumerate(order)}
    cliques = [list(ranks)[:4], list(ranks)[3:6]]
    return [
        draw("forest", draw_intervals, bars, Axis(say("difference")), True),
        draw("ranks", draw_ranking, ranks, 3.2, cliques),
    ]


def _curves(say: Say, names: dict[str, str], draw: Draw) -> list[Figure]:
    found = []
    for place, (name, score) in enumerate(SCORES.items()):
        ys = [score * (1 - 0.5 * math.exp(-epoch / (3 + place))) for epoch in range(30)]
        lows, highs = [y - 0.01 for y in ys], [y + 0.01 for y in ys]
        found.append(Line(names[name], list(range(30)), ys, lows, highs, chosen=29))
    marks = [(10.0, say("phase 2")), (12.0, say("phase 3"))]
    return [draw("learning", draw_lines, found, Axis(say("epoch")), Axis(say("accuracy")), marks)]


def _maps(say: Say, names: dict[str, str], draw: Draw) -> list[Figure]:
    groups = [say(name) for name in ("stem", "stage1", "stage2", "stage3")]
    moved = [[None, *(0.1 * place * step for step in range(3))] for place in range(len(names))]
    classes = [say(str(digit)) for digit in range(10)]
    confusion = [[90.0 if row == column else (row * column) % 7 for column in range(10)] for row in range(10)]
    return [
        draw("moved", draw_matrix, list(names.values()), groups, moved, ".2f", say("moved")),
        make_figure(
            "confusion", say("Confusion."), partial(draw_matrix, classes, classes, confusion, ".0f", say("predicted"))
        ),
    ]


def _table(say: Say, names: dict[str, str]) -> Table:
    columns = [(say("strategy"), False), (say("accuracy"), True), (say("seconds"), True), (say("note"), False)]
    rows = [
        [
            TableCell(names[name]),
            TableCell(f"{score:.3f}", score),
            TableCell(f"{SECONDS[name]:g} s", SECONDS[name]),
            TableCell(say("fine")),
        ]
        for name, score in SCORES.items()
    ]
    failed = [TableCell(say("scratch")), TableCell("-"), TableCell("-"), TableCell(say("failed"))]
    return Table("table", say("Scores."), columns, [failed, *rows])


def _pictures(say: Say) -> Pictures:
    content = io.BytesIO()
    Image.new("L", (8, 8), 128).save(content, "PNG")
    return Pictures(say("Wrong."), [(content.getvalue(), say("1 for 7"))] * 3)
