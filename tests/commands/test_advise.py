"""What `frostline advise` prints of an advice, and `frostline report` writes again."""

import json
from pathlib import Path

import pytest
from tests.advice_contents import make_advice_content, write_content

from frostline.commands.advise import print_advice
from frostline.commands.report import main as report


def test_the_answer_and_the_price_list_are_printed_and_the_pages_path_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = write_content(tmp_path, make_advice_content(say=lambda text: f"{text}\x1b[2J"))
    print_advice(folder / "advice.html")
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("Cannot tell which is best") and lines[-1] == str(folder / "advice.html")
    (row,) = [line for line in lines if line.startswith("joined")]
    assert "12.0 s  0.940 [0.910, 0.970]" in row and "the answer" in row
    assert "not run" in said and "~ 5 min 10 s" in said and "\x1b" not in said
    assert max(map(len, lines[:-1])) <= 80


def test_as_json_it_is_what_the_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = make_advice_content()
    print_advice(write_content(tmp_path, content) / "advice.html", as_json=True)
    assert json.loads(capsys.readouterr().out) == content


def test_the_report_of_an_advice_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_content(tmp_path / "a", make_advice_content(answered=False))
    assert report([str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "advice.html") and (folder / "advice.md").is_file()
