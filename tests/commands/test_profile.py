"""`frostline profile` and `frostline run --taps`: what they print, write and refuse."""

import json
from pathlib import Path

import pytest
from tests.conftest import Program
from tests.profile_contents import make_content, make_reading
from tests.tiny import RUN

from frostline.commands.profile import make_table
from frostline.files.csv_tables import read_csv


def test_a_profile_is_printed_written_and_found_again(frostline: Program, tmp_path: Path) -> None:
    done = frostline("profile", *RUN)
    assert done.returncode == 0, done.stderr
    path = tmp_path / done.stdout.splitlines()[-1]
    assert path.parent.parent == tmp_path / "outputs/profiles"
    assert {one.name for one in path.parent.iterdir()} == {"profile.json", "profile.csv", "profile.html"}
    content = json.loads(path.read_text())
    assert content["id"] == path.parent.name and content["command"].startswith("frostline profile backbone=timm")
    for name in (*(tap["name"] for tap in content["taps"]), "joined: late"):
        assert f"\n{name} " in done.stdout
    assert [row["tap"] for row in read_csv(path.parent / "profile.csv")][-1] == "joined: late"
    (path.parent / "profile.html").unlink()
    again = frostline("profile", "--json", *RUN, "epochs=3")
    assert json.loads(again.stdout) == content and (path.parent / "profile.html").exists()
    assert not (tmp_path / "outputs/runs").exists()


def test_a_mistake_is_one_sentence(frostline: Program, tmp_path: Path) -> None:
    for overrides, said in (
        (["data.sise=3"], "frostline: data.sise: "),
        (["task=regression", "task.loss=huber", "data.num_per_class=null", "head.solver=null"], "frostline: task: "),
    ):
        done = frostline("profile", *RUN, *overrides)
        assert done.returncode == 2 and done.stderr.startswith(said) and done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs/profiles").exists()


def test_taps_are_listed_and_nothing_is_written(frostline: Program, tmp_path: Path) -> None:
    done = frostline("run", "--taps", *RUN)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("test_resnet: ") and [line for line in lines if line.split()[:1] == ["features"]]
    assert not (tmp_path / "outputs").exists()
    refused = frostline("run", "--taps", "-m", *RUN)
    assert refused.returncode == 2 and "--taps lists those of one network: leave out -m" in refused.stderr


def test_the_table_marks_what_cannot_be_told_from_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    content = make_content()
    content["taps"][0] |= {"probe": make_reading(None), "neighbours": make_reading(None)}
    Console(width=80).print(make_table(content))
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "0.900*" in lines["blocks.3"] and "0.850 " in lines["blocks.4"] and " - " in lines["blocks.0"]
    assert "0.950+" in lines["joined:"]
