"""The page of a depth profile: what it says of its numbers, and that nothing in them does anything."""

import copy
from pathlib import Path

import pytest
from tests.profile_contents import make_content, make_reading

from frostline.files.csv_tables import read_csv
from frostline.profiles.record import read_profile
from frostline.report.page.depths import write_verdict
from frostline.report.page.html import make_html
from frostline.report.page.profile import make_profile_page, write_profile

EVIL = "<script>alert(1)</script> \x1b[2J ${x}"


def test_the_page_says_where_the_best_is_and_what_that_is_worth() -> None:
    html = make_html(make_profile_page(make_content()))
    assert "Frozen, this network is read best at blocks.3: validation accuracy 0.900 [0.880, 0.920]." in html
    for said in (
        "picked on the very samples",
        "An interval covers the chance of the validation samples",
        "The test split was not looked at",
        "joined: all",
        "Where classes part",
        "NLEEP: Too few samples.",
    ):
        assert said in html


@pytest.mark.parametrize(
    ("joined", "said"),
    [
        (0.95, "All depths joined, accuracy 0.950 [0.930, 0.970], beats the best single depth"),
        (0.9, "cannot be told from the best single depth"),
        (0.8, "is behind the best single depth by more than chance"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_difference(joined: float, said: str) -> None:
    verdict = write_verdict(make_content(joined=joined))
    assert said in verdict
    assert "The network's end, accuracy 0.850 [0.830, 0.870], is behind it by more than chance." in verdict


def test_a_profile_of_any_size_has_a_page() -> None:
    for taps, classes in ((1, 0), (1, 40), (60, 2), (200, 200)):
        html = make_html(make_profile_page(make_content(taps, classes)))
        assert html.count("<svg ") >= (2 if classes else 1) and ("Where classes part" in html) == bool(classes)
    assert "so there is nothing to say" in make_html(make_profile_page({**make_content(), "best": None}))


def test_a_tap_without_a_score_is_shown_as_one() -> None:
    content = make_content()
    content["taps"][0] |= {"probe": make_reading(None), "neighbours": make_reading(None)}
    assert "blocks.0" in make_html(make_profile_page(content))


def test_what_stands_in_a_profile_is_shown_as_text() -> None:
    html = make_html(make_profile_page(make_content(say=lambda text: f"{text} {EVIL}")))
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html and "\x1b" not in html


def test_the_files_are_what_is_read_back(tmp_path: Path) -> None:
    content = make_content()
    write_profile(tmp_path, content)
    assert read_profile(tmp_path) == content and content == copy.deepcopy(content)
    rows = list(read_csv(tmp_path / "profile.csv"))
    assert [row["tap"] for row in rows] == [*(f"blocks.{place}" for place in range(5)), "joined: all"]
    assert (
        float(rows[3]["probe"]) == 0.9 and rows[0]["nleep"] == "" and float(rows[-1]["gap_low"]) == pytest.approx(-0.07)
    )
    assert not list(tmp_path.glob(".*")), "nothing temporary stays"
