"""The plan table reads at 80 columns without colour, whatever the plan."""

import io

import pytest
from rich.console import Console
from tests.configs import make_plan

from frostline.freeze.plan import Plan
from frostline.freeze.strategies import linear_probe, norm_only
from frostline.freeze.table import plan_table

EFFICIENTNET = ["stem", *(f"stage{i}" for i in range(1, 8)), "neck"]
VIT = ["stem", *(f"block{i}" for i in range(1, 13)), "norm"]
CACHED = "block12 act. 41 MB, saves 12 of 13 passes"


def printed(plan: Plan, width: int = 80, cached: str = CACHED) -> str:
    sizes = {name: 250_000 * (depth + 1) for depth, name in enumerate(plan.groups)} | {"head": 12_810}
    trainable = [
        {name: sizes[name] if how.kind == "all" else sizes[name] // 100 for name, how in phase.train.items()}
        for phase in plan.phases
    ]
    console = Console(width=width, no_color=True, file=io.StringIO())
    console.print(plan_table(plan, sizes, trainable, [cached] * len(plan.phases)))
    return console.file.getvalue()  # type: ignore[attr-defined]


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_one_phase() -> None:
    text = printed(linear_probe(EFFICIENTNET, 20), width=100)
    assert "Plan: 20 epochs in 1 phase, 11.3M parameters, pretrained weights" in text
    assert ["head", "20", "stem-neck", "11.2M", "frozen", *CACHED.split()] in rows(text)
    assert ["head", "12.8k", "x1"] in rows(text)


def test_kinds_ranges_and_gaps() -> None:
    assert "112k of 11.2M  x1 norm" in printed(norm_only(EFFICIENTNET, 20))
    assert "stem-neck" in (text := printed(make_plan("layer_decay", EFFICIENTNET, 20))) and "x0.075..0.75" in text
    text = printed(make_plan("surgical", EFFICIENTNET, 20, train=["stage2", "stage3"]))
    assert "stage2-3" in text
    assert ["all", "others", "9.5M", "frozen"] in rows(text)


def test_merged_phases_and_the_note() -> None:
    text = printed(make_plan("gradual", EFFICIENTNET, 3))
    assert "stage7..4" in text and "head+neck" in text
    note = "The strategy's 10 phases do not fit into 3 epochs, so neighbouring phases were merged."
    assert note in " ".join(text.split())


def test_names_are_not_markup() -> None:
    assert "[red]7 not cached" in printed(linear_probe(["[bold]stem"], 1), cached="[red]7 not cached")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "plan",
    [make_plan("gradual", VIT, 20), make_plan("chain_thaw", VIT, 32), make_plan("gradual", VIT, 4)],
    ids=["14", "16", "merged"],
)
def test_many_phases_fit(plan: Plan, width: int) -> None:
    text = printed(plan, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\u2026" not in text  # nothing is cut short
    assert len(text.splitlines()) <= 60
    assert " ".join(text.split()).count("passes") == len(plan.phases)
