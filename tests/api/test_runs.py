"""The program from Python: in a script as people write them, in a notebook, from a thread, and interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

SMALL = {
    **{"backbone": "timm", "backbone.name": "test_resnet", "backbone.weights": "none", "trainer.accelerator": "cpu"},
    **{"data.size": 32, "data.num_per_class": 5, "epochs": 2, "launcher.threads": 1},
}
# Without `if __name__ == "__main__"`, on purpose.
SCRIPT = f"""
import json, sys, threading
print("the script starts", file=sys.stderr)
import frostline as fl
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

def state():
    return sorted(ConfigStore.instance().repo), GlobalHydra.instance().hydra, HydraConfig.instance().cfg

SMALL, before, told = {SMALL!r}, state(), {{}}
one = fl.run("freeze=linear_probe", **SMALL)
told["first"] = [one.id, one.status, one.metrics["test"]["accuracy"], one.record["config"]["seed"]]
told["repeated"] = fl.run("freeze=linear_probe", quiet=True, **SMALL).id
told["torch"] = "torch" in sys.modules
for name, wrong in (("key", dict(epoch=3)), ("worker", dict(data="imagefolder", **{{"data.root": "nowhere"}}))):
    try:
        fl.run(quiet=True, **{{**SMALL, **wrong}})
    except fl.UserError as error:
        told[name] = str(error)
failed = fl.run(quiet=True, head={{"_target_": "broken.Head"}}, allow="broken", **SMALL)
told["failed"] = [failed.status, failed.reason]
try:
    failed.metrics
except fl.UserError as error:
    told["no metrics"] = str(error)

def compare():
    strategies = ["linear_probe", {{"last_k": {{"k": 1}}}}]
    found = fl.compare(freeze=strategies, seeds=[0, 1], name="mine", quiet=True, **SMALL)
    told["compared"] = [str(found.folder), found.verdict, [run.status for run in found.runs], found.table[0]["label"]]
    told["shown"] = found._repr_html_()[:30]

thread = threading.Thread(target=compare)
thread.start()
thread.join()
told["state"] = state() == before
json.dump(told, open("told.json", "w"))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a script tells of its calls; the folder it ran in stands under ``folder``."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "script.py").write_text(SCRIPT)
    (folder / "code").mkdir()
    (folder / "code" / "broken.py").write_text(
        "from torch import nn\n\n\nclass Head(nn.Linear):\n    solver = None\n\n"
        "    def __init__(self, features, classes, **options):\n        super().__init__(features, classes)\n\n"
        "    def forward(self, input):\n        raise RuntimeError('no such luck')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder / "code")}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads((folder / "told.json").read_text()), "folder": folder, "out": done.stdout, "err": done.stderr}


def test_a_script_without_a_guard_is_run_once(told: dict[str, Any]) -> None:
    assert told["err"].count("the script starts") == 1
    assert told["state"], "Hydra's state is as it was found"


def test_a_run_comes_back_as_an_object_and_is_not_run_twice(told: dict[str, Any]) -> None:
    name, status, accuracy, seed = told["first"]
    assert status == "done" and 0 <= accuracy <= 1 and seed == 0 and told["repeated"] == name
    assert f"run: done, test accuracy {accuracy:.4f}" in told["out"]
    assert not told["torch"], "the program that asks trains nothing"


def test_a_mistake_is_raised_and_any_other_failure_is_told(told: dict[str, Any]) -> None:
    assert told["key"].startswith("epoch: ") and "nowhere" in told["worker"]
    assert told["failed"][0] == "failed" and "no such luck" in told["failed"][1]
    assert "this run is failed" in told["no metrics"] and "no such luck" in told["no metrics"]


def test_a_comparison_works_from_a_thread(told: dict[str, Any]) -> None:
    folder, verdict, statuses, label = told["compared"]
    assert folder == "outputs/comparisons/mine" and statuses == ["done"] * 4 and label == "linear_probe"
    assert "has the best mean test accuracy" in verdict
    assert told["shown"].startswith("<iframe srcdoc=")
    command = json.loads((told["folder"] / folder / "comparison.json").read_text())["command"]
    assert command.startswith("frostline compare ") and "compare.seeds=[0,1]" in command


@pytest.mark.slow
def test_a_notebook_shows_the_report_and_goes_on(tmp_path: Path) -> None:
    cells = [
        f"import frostline as fl\nSMALL = {SMALL!r}",
        "run = fl.run('freeze=linear_probe', **SMALL)\nrun.status, run.metrics['test']['accuracy']",
        "fl.compare(freeze=['linear_probe'], seeds=[0, 1], **SMALL)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell["outputs"] for cell in notebook["cells"]]
    assert "'done'" in outputs[1][-1]["data"]["text/plain"]
    assert outputs[2][-1]["data"]["text/html"].startswith("<iframe srcdoc=")
    assert list(tmp_path.glob("outputs/comparisons/*/report.html"))


def test_ctrl_c_leaves_what_the_same_call_goes_on_with(tmp_path: Path) -> None:
    call = f"import frostline as fl; print(fl.run('freeze=full', **{ {**SMALL, 'epochs': 500}!r}).status)"
    process = subprocess.Popen(
        [sys.executable, "-c", call],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 200
    while not (found := list(tmp_path.glob("outputs/runs/*/metrics.csv"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    assert said.rstrip().endswith("KeyboardInterrupt")
    record = json.loads((found[0].parent / "record.json").read_text())
    assert record["status"] == "interrupted" and list((found[0].parent / "checkpoints").iterdir())


def test_the_import_is_light_and_names_what_there_is() -> None:
    text = (
        "import sys, frostline; heavy = {'torch', 'hydra', 'rich', 'yaml', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy; "
        "assert {'run', 'compare', 'tune', 'records'} <= set(dir(frostline)); "
        "import frostline.runs.calls; assert callable(frostline.run); "
        "assert not hasattr(frostline, 'nosuch')"
    )
    subprocess.run([sys.executable, "-c", text], check=True)
