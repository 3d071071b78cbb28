"""A depth profile from Python, in a script of its own: the object, and that it is shown in a notebook."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.tiny import RUN

import frostline as fl

SCRIPT = f"""
import json, sys
import frostline as fl
SMALL = {RUN!r}
found = fl.profile(*SMALL, seed=3)
told = {{"folder": str(found.folder), "best": found.best["name"], "joined": sorted(found.joined), "repr": repr(found)}}
told["taps"] = [tap["name"] for tap in found.taps]
told["table"] = [row["tap"] for row in found.table]
told["shown"] = found._repr_html_()[:30]
told["again"] = str(fl.profile(*SMALL, seed=3, quiet=True).folder)
told["torch"] = "torch" in sys.modules
try:
    fl.profile(*SMALL, quiet=True, **{{"data.sise": 3}})
except fl.UserError as error:
    told["mistake"] = str(error)
json.dump(told, open("told.json", "w"))
"""


def test_a_profile_comes_back_as_an_object(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["folder"].startswith("outputs/profiles/") and told["again"] == told["folder"]
    assert told["best"] in told["taps"] and told["joined"] == ["all", "late"]
    assert told["table"] == [*told["taps"], "joined: all", "joined: late"]
    assert told["shown"].startswith("<iframe srcdoc=") and told["mistake"].startswith("data.sise: ")
    assert told["repr"].startswith("<depth profile ") and "test_resnet on digits" in told["repr"]
    assert not told["torch"], "the program that asks measures nothing"
    assert done.stdout.count("reading train and val") == 1


def test_the_function_is_not_hidden_by_the_room() -> None:
    import frostline.profiles.record  # noqa: F401

    assert callable(fl.profile)
