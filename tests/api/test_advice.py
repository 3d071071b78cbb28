"""Advice from Python, in a script of its own: a race of real runs, its answer as a run, and the time that it took."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny import RUN

SCRIPT = f"""
import json, sys, time
import frostline as fl
SMALL = {RUN!r}
LEFT_OUT = dict.fromkeys(["mix", "upper", "joined_then_last", "joined_then_all", "probe_then_all"])
CHOICE = {{"mine": {{"last_k": {{"k": 2}}}}, **LEFT_OUT}}
began = time.monotonic()
found = fl.advise(*SMALL, "epochs=4", within="2m", rates=[0.01], candidates=CHOICE)
told = {{"took": time.monotonic() - began, "folder": str(found.folder), "repr": repr(found)}}
told["answer"] = dict(found.answer)
told["trials"] = {{row["name"]: row["done"] for row in found.trials}}
told["run"] = [found.run.status, found.run.metrics["test"]["accuracy"], found.run.record["config"]["test"]]
told["shown"] = found._repr_html_()[:30]
began = time.monotonic()
told["again"] = dict(fl.advise(*SMALL, "epochs=4", within="2m", rates=[0.01], candidates=CHOICE, quiet=True).answer)
told["torch"] = "torch" in sys.modules
try:
    fl.advise(*SMALL, within="soon")
except fl.UserError as error:
    told["mistake"] = str(error)
json.dump(told, open("told.json", "w"))
"""


@pytest.mark.slow
def test_an_advice_comes_back_as_an_object(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["folder"].startswith("outputs/advice/digits-timm-") and told["repr"].startswith("<advice digits-timm-")
    assert {"joined", "mine at 0.01", "last at 0.01", "full at 0.01"} >= set(told["trials"]) >= {"joined"}
    assert told["run"] == ["done", told["answer"]["test"], True]
    assert told["answer"]["expected"]["low"] <= told["answer"]["expected"]["value"]
    assert told["again"] == told["answer"] and told["shown"].startswith("<iframe srcdoc=")
    assert told["mistake"] == "advise.within: 'soon' is no time: expected seconds, or 90s, 5m, 2h."
    assert not told["torch"], "the program that asks trains nothing"
    assert told["took"] <= 1.05 * 120
    folder = tmp_path / told["folder"]
    assert {path.name for path in folder.iterdir()} >= {"advice.json", "advice.html", "advice.md"}


@pytest.mark.slow
def test_time_that_is_too_short_is_a_sentence_before_anything_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "frostline", "advise", *RUN, "epochs=4", "advise.within=3s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("frostline: advise.within: 3 s is too short: ")
    assert not (tmp_path / "outputs" / "runs").exists()
