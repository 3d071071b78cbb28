"""A comparison's section on depths: what it says with profiles, without, with damaged ones, and of few strategies."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.profile_contents import make_content

from frostline.freeze import strategies
from frostline.report import read_comparison, write_report
from frostline.report.page.profile import write_profile

Write = Callable[..., Path]
GROUPS = [f"stage{place}" for place in range(5)]
PLANS = {
    "linear_probe": strategies.linear_probe(GROUPS, 2),
    **{f"last_k(k={k})": strategies.last_k(GROUPS, 2, k) for k in (1, 2)},
    "full": strategies.full(GROUPS, 2),
}
FOUR = {"linear_probe": (0.8, 4.0), "last_k(k=1)": (0.86, 12.0), "last_k(k=2)": (0.9, 20.0), "full": (0.87, 30.0)}
EVIL = "<script>alert(1)</script>"


def give_plan(label: str, block: Mapping[str, str], seed: int, record: dict[str, Any]) -> None:
    """Give a record the plan of its strategy, over the groups of the profile."""
    record["plan"] = PLANS[label].to_dict()


def list_cells(paths: Mapping[str, str | None], blocks: Any = ({},), why: str | None = None) -> list[dict[str, Any]]:
    """Return what comparison.json has of the profiles of all strategies in blocks, by the blocks' data."""
    return [
        {"label": label, "block": block, "path": paths[block.get("data", "")], "why": why}
        for block in blocks
        for label in FOUR
    ]


def write_section(comparison: Write, profiles: Any, **more: Any) -> tuple[str, str]:
    """Return the section on depths in report.md, and all of report.html."""
    folder = comparison(FOUR, change=give_plan, profiles=profiles, **more)
    html = write_report(folder, read_comparison([folder])).read_text()
    text = (folder / "report.md").read_text()
    return text.partition("## Where the network knows what you need")[2].partition("\n## ")[0], html


def test_the_section_shows_depths_and_what_they_foretold(comparison: Write, tmp_path: Path) -> None:
    write_profile(tmp_path / "profiles" / "a", make_content())
    said, html = write_section(comparison, list_cells({"": "../../profiles/a"}))
    assert "network on digits. Frozen, this network is read best at blocks.3" in said and "figures/depths-1.svg" in said
    for row in ("linear_probe | blocks.4 | 0.850", "last_k(k=1) | blocks.3 | 0.900", "last_k(k=2) | blocks.2 | 0.850"):
        assert f"| {row} " in said
    assert "Without a place: full (it trains the network from its first layers on" in said
    assert "3 strategies have 6 orders, so a column that knows nothing has the right one in 1 of 6" in said
    assert "-0.532, +1.000" in said, "what three strategies can say at most"
    assert "for 1 depth profile, took 4.0 s" in html
    assert html.index('id="results"') < html.index('id="depths-1"') < html.index('id="costs"')
    rows = (tmp_path / "comparisons" / "toy" / "results.csv").read_text().splitlines()
    assert rows[0].endswith(",frozen_tap") and rows[1].endswith(",blocks.4") and rows[-1].endswith(",")


def test_two_blocks_have_a_profile_each(comparison: Write, tmp_path: Path) -> None:
    blocks = [{"data": "digits"}, {"data": "mnist5k"}]
    for name in ("digits", "mnist5k"):
        write_profile(tmp_path / "profiles" / name, {**make_content(), "data": name})
    paths = {name: f"../../profiles/{name}" for name in ("digits", "mnist5k")}
    said, html = write_section(comparison, list_cells(paths, blocks), blocks=blocks)
    assert "network on digits. Frozen" in said and "The same of network on mnist5k" in said
    assert "The order of strategies on mnist5k" in said and all(f'id="depths-{place}"' in html for place in (1, 2))


@pytest.mark.parametrize(
    ("path", "why", "said"),
    [
        (None, "task: task=ctc answers for each frame.", "There is no depth profile: task: task=ctc answers"),
        (None, None, "The depth profile is not there yet"),
        ("../../profiles/gone", None, "profiles/gone: the profile that was here is gone."),
        ("../../profiles/broken", None, "profile.json: this is no depth profile ("),
        ("../../profiles/\x00", None, "nowhere: the profile that was here is gone."),
    ],
)
def test_a_profile_that_is_not_there_costs_a_sentence(
    comparison: Write, tmp_path: Path, path: str | None, why: str | None, said: str
) -> None:
    (tmp_path / "profiles" / "broken").mkdir(parents=True)
    (tmp_path / "profiles" / "broken" / "profile.json").write_text(json.dumps({**make_content(), "taps": 3}))
    section, html = write_section(comparison, list_cells({"": path}, why=why))
    assert said in section and "Rank correlation of each column" not in html


@pytest.mark.parametrize("content", [{}, {"profiles": []}])
def test_an_old_comparison_has_no_such_section(comparison: Write, content: dict[str, Any]) -> None:
    folder = comparison(**content)
    html = write_report(folder, read_comparison([folder])).read_text()
    assert "Where the network knows" not in html and "frozen_tap" not in (folder / "results.csv").read_text()


def test_a_network_of_one_depth_has_a_sentence(comparison: Write, tmp_path: Path) -> None:
    write_profile(tmp_path / "profiles" / "a", make_content(taps=1, joined=0.9))
    said, _ = write_section(comparison, list_cells({"": "../../profiles/a"}))
    assert "network on digits: this network can be read at its blocks.0 alone, with validation accuracy 0.900" in said
    assert "figures/depths" not in said and "frozen to" not in said


def test_what_stands_in_a_profile_is_shown_as_text(comparison: Write, tmp_path: Path) -> None:
    write_profile(tmp_path / "profiles" / "a", make_content(say=lambda text: f"{text} {EVIL}"))
    said, html = write_section(comparison, list_cells({"": "../../profiles/a"}, why=None))
    assert "<script>alert" not in html and "<script>alert" not in said and "&lt;script&gt;alert(1)" in html
