"""The page of an advice: complete with whatever there is, nothing in it does anything, and it can be read back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.advice_contents import SCORES, make_advice_content, make_answer, make_trial, write_content
from tests.profile_contents import make_content
from tests.report.page.drawings import all_of, read, touching, words

from frostline.errors import UserError
from frostline.report import read_advice, write_advice_report
from frostline.report.page.advice.page import make_advice_page
from frostline.report.page.parts import Figure, Page, Section, Table
from frostline.report.read.advice import Advice

EVIL = "<script>alert(1)</script> \x1b[2J ${x} {{7*7}} | ` \n# no heading"


def make_page(**more: Any) -> Page:
    return make_advice_page(Advice(Path("outputs/advice/toy"), make_advice_content(**more)))


def find_section(page: Page, id: str) -> Section:
    return next(section for section in page.sections if section.id == id)


def find_table(page: Page, id: str) -> dict[str, list[str]]:
    """Return a table's rows by their first cell."""
    parts = [part for section in page.sections for part in section.parts]
    (table,) = [part for part in parts if isinstance(part, Table) and part.id == id]
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def find_figure(page: Page, id: str) -> Figure:
    parts = [part for section in page.sections for part in section.parts]
    (figure,) = [part for part in parts if isinstance(part, Figure) and part.id == id]
    return figure


def test_the_page_goes_from_the_answer_to_the_commands(tmp_path: Path) -> None:
    path = write_advice_report(tmp_path, read_advice(write_content(tmp_path, make_advice_content())))
    assert path == tmp_path / "advice.html"
    html, text = path.read_text(), (tmp_path / "advice.md").read_text()
    places = [text.index(f"## {title}") for title in ("What each price buys", "The race", "Costs", "What next")]
    assert places == sorted(places) and "Cannot tell which is best" in text[: places[0]]
    drawn = re.findall(r"\((figures/[\w-]+\.svg)\)", text)
    assert len(drawn) == 3 and all((tmp_path / one).is_file() for one in drawn)
    assert html.count("<svg ") > 2 * len(drawn) and "frostline compare" in html


def test_the_price_list_has_what_was_run_and_what_was_not() -> None:
    rows = find_table(make_page(), "prices-table")
    assert list(rows) == ["upper at 0.001", "joined", "last at 0.001", "full at 0.001"]
    assert rows["joined"] == ["12.0 s", "0.940", "[0.910, 0.970]", "10 of 10", "-", "the answer"]
    assert rows["last at 0.001"][-1] == "as good; stopped" and rows["upper at 0.001"][-1] == "stopped"
    assert rows["full at 0.001"] == ["~ 5 min 10 s", "-", "-", "-", "25%", "not run"]
    assert "the first began after 3.0 s." in str(find_section(make_page(), "prices").parts[-1])
    failed = [make_trial("joined", 0.9), make_trial("last", None, out="failed: out of memory")]
    assert find_table(make_page(trials=failed), "prices-table")["last at 0.001"][-1] == "failed: out of memory"


def test_the_picture_has_the_steps_and_hollow_marks() -> None:
    for drawn in (find_figure(make_page(), "price-list").svg, find_figure(make_page(), "price-list").narrow):
        root = read(drawn)
        assert len(all_of(root, "dot")) == 3 and len(all_of(root, "hollow")) == 1
        (line,) = all_of(root, "front")
        assert line.attrib["d"].count("V") == 1  # from upper to joined: last costs more and is worse
        assert not touching(words(root, "name"))
        assert "not run; about 5 min 10 s" in drawn and "25% likely" in drawn


def test_the_race_says_who_stopped_when_and_why_and_seeds_are_told_apart() -> None:
    trials = [*(make_trial(name, value) for name, value in SCORES.items()), make_trial("last", 0.91, seed=1)]
    page = make_page(trials=trials)
    assert find_table(page, "moves")["70 s"] == ["last at 0.001", "stops", "1% likely to beat joined"]
    assert find_table(page, "seeds") == {"last at 0.001": ["1", "0.910", "40.0 s"]} and len(trials) == 4
    assert len(all_of(read(find_figure(page, "race-curves").svg), "series")) == 3
    assert "seeds" not in json.dumps(
        [part.id for part in find_section(make_page(), "race").parts if isinstance(part, Table)]
    )


def test_it_says_what_it_drew_on() -> None:
    page = make_page(history=["vowels-a", "digits-b"])
    assert "drew on 2 earlier ones: vowels-a, digits-b; advise.history=false does without" in str(
        find_section(page, "race")
    )


def test_a_late_answer_is_called_late() -> None:
    for seconds, said in ((98.5, "it took 98.5 s: in time."), (104.0, "it took 1 min 44 s: 4.0 s late.")):
        texts = str(find_section(make_page(seconds=seconds), "costs").parts)
        assert f"Asked for 1 min 40 s, {said}" in texts


@pytest.mark.parametrize(
    "more",
    [
        {"answered": False},
        {"answered": False, "trials": [], "moves": [], "found": None},
        {"scores": {"joined": 0.9}, "alike": {}},
        {"trials": [make_trial("joined", 0.9, seconds=0.0)]},
        {"trials": [], "answer": make_answer({}, SCORES)},
        {"scores": {"joined": 3.0, "last": 2.5}, "metric": "rmse", "lower_is_better": True},
        {"metric": "my_own", "least": 0.0, "notes": ["12 images are in train and in val."]},
    ],
)
def test_whatever_is_missing_there_is_a_page(more: dict[str, Any], tmp_path: Path) -> None:
    content = make_advice_content(**more)
    html = write_advice_report(tmp_path, read_advice(write_content(tmp_path, content))).read_text()
    assert "What next" in html and ("12 images are in train" in html) == bool(content["notes"])
    assert ("There is no answer" in html) == (content["answer"] is None)


def test_lower_is_better_turns_the_steps() -> None:
    page = make_page(scores={"joined": 3.0, "last": 2.5, "upper": 4.0}, metric="rmse", lower_is_better=True)
    (line,) = all_of(read(find_figure(page, "price-list").svg), "front")
    assert line.attrib["d"].count("V") == 2 and "Validation RMSE" in find_figure(page, "price-list").caption


def test_what_stands_in_an_advice_is_shown_as_text(tmp_path: Path) -> None:
    content = make_advice_content(say=lambda text: f"{text} {EVIL}", notes=[EVIL])
    html = write_advice_report(tmp_path, read_advice(write_content(tmp_path, content))).read_text()
    text = (tmp_path / "advice.md").read_text()
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html and "\x1b" not in html + text
    blocks = [line for line in text.splitlines() if not line.startswith("    ")]
    assert not any("<script>" in line or line.startswith("# no") for line in blocks)
    for path in (tmp_path / "figures").iterdir():
        assert "<script>" not in path.read_text()


def test_the_depth_profile_is_shown_where_the_advice_points_to_one(tmp_path: Path) -> None:
    profile = tmp_path / "profiles/p"
    profile.mkdir(parents=True)
    (profile / "profile.json").write_text(json.dumps(make_content()))
    for place in ("../../profiles/p", "../../profiles/p/profile.json"):
        folder = write_content(tmp_path / "advice/a", make_advice_content(profile=place))
        html = write_advice_report(folder, read_advice(folder)).read_text()
        assert "this network is read best at blocks.3" in html and 'id="depth"' in html
    (profile / "profile.json").write_text("{}")
    assert "There is no depth profile: " in write_advice_report(folder, read_advice(folder)).read_text()
    (profile / "profile.json").unlink()
    assert "is gone" in write_advice_report(folder, read_advice(folder)).read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"within": -1.0}, "within has -1"),
        ({"trials": [make_trial("last", 0.9, seconds=1e300)]}, "trials has 1e+300"),
        ({"trials": [make_trial("last", 0.9, curve=[[1.0]])]}, "not made of pairs"),
        ({"answer": make_answer({}, SCORES, level=1.0)}, "answer.level is 1.0"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = write_content(tmp_path, make_advice_content(**more))
    with pytest.raises(UserError, match=rf"advice\.json: this is no advice \(.*{re.escape(said)}"):
        read_advice(folder)


def test_what_is_no_advice_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", '{"format": 1}', '{"format": 2}'):
        (tmp_path / "advice.json").write_text(text)
        with pytest.raises(UserError, match="frostline advise writes it anew"):
            read_advice(tmp_path)
