"""What leaves the house holds no code but ours, whatever a config, a data set, or a stranger's record says."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sequences import save_bert

from frostline.commands import main
from frostline.serving.example import Code, print_value
from frostline.training.checkpoint import Checkpoints

Alone = Callable[[Path, Sequence[str]], list[dict[str, Any]]]
CANARY = "CANARY"
CODE = f"open('{CANARY}','w').write('x')"
HOSTILE = (
    f'"""+{CODE}+"""',
    f'"""\n{CODE}\n"""',
    f"'''+{CODE}+'''",
    f'"+{CODE}+"',
    f'\\"""\r\n{CODE}\u2028{CODE}\x85{CODE}\x0b{CODE} #',
    "{{ " + CODE + " }}{% raw %}{# #}",
    "</script><script>" + CODE + "</script>",
    "${oc.env:HOME}",
    "\\",
    "caf\udce9",
    "",
)
FORMATS = ("torch", "safetensors", "onnx")


def edited(run: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy a run and change its record, as a stranger would."""
    copy = shutil.copytree(run, folder)
    record = json.loads((copy / "record.json").read_text())
    change(record)
    (copy / "record.json").write_text(json.dumps(record))
    return copy


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("format", FORMATS)
def test_classes_of_any_text_are_data(
    image_run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Alone, format: str
) -> None:
    """Promise 33."""
    monkeypatch.chdir(tmp_path)
    names = [f'"""\n{CODE}\n"""', "caf\udce9"]

    def change(record: dict[str, Any]) -> None:
        record["data"]["classes"] = names
        record["backbone"]["name"] = record["task"]["name"] = HOSTILE[0]
        record["config"]["data"]["root"] = HOSTILE[1]
        record["config"]["label"] = record["config"]["group"] = HOSTILE[4]

    run = edited(image_run, tmp_path / "run", change)
    assert main(["export", str(run), "--format", format, "--output", "out"]) == 0
    if format == "onnx":  # as a program; compared with Frostline's it has run in each format by now
        said = alone(tmp_path / "out", [str(next((pictures / "test").rglob("*.png")))])
        assert said[0]["prediction"] in names and list(said[0]["probabilities"]) == names
    assert CODE not in (tmp_path / "out" / "example.py").read_text()
    assert not list(tmp_path.rglob(CANARY))


@pytest.mark.parametrize("format", ["torch", "safetensors", "transformers"])
def test_a_network_of_any_name_is_data(
    text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Alone, format: str
) -> None:
    """Promise 33: a folder's name with quotes in it ran when its example was written and run."""
    monkeypatch.chdir(tmp_path)
    network = save_bert(tmp_path / HOSTILE[0])
    run = edited(text_run, tmp_path / "run", lambda record: record["config"]["backbone"].update(name=str(network)))
    assert main(["export", str(run), "--format", format, "--output", "out"]) == 0
    assert json.loads((tmp_path / "out" / "labels.json").read_text())["network"] == network.name
    if format == "safetensors":
        alone(tmp_path / "out", ["w1 w2"])
    assert CODE not in (tmp_path / "out" / "example.py").read_text()
    assert not list(tmp_path.rglob(CANARY))
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", str(tmp_path / "out")]
    done = subprocess.run(lint, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


PLACES = {
    "logger": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "AWAY"},
    "profiler": {"_target_": "pytorch_lightning.profilers.SimpleProfiler", "dirpath": "AWAY", "filename": "x"},
    "callbacks": [{"_target_": "pytorch_lightning.callbacks.OnExceptionCheckpoint", "dirpath": "AWAY"}],
    "default_root_dir": "AWAY",
}


@pytest.mark.parametrize("key", PLACES)
def test_a_strangers_record_writes_nowhere_else(
    image_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Promise 47: what it names below ``trainer`` is refused, or not used, and never made."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = edited(image_run, tmp_path / "run", lambda record: record["config"]["trainer"].update({key: PLACES[key]}))
    before = files(tmp_path)
    assert main(["export", str(run), "--format", "safetensors", "--output", str(tmp_path / "out")]) in (0, 2)
    assert {path for path in files(tmp_path) - before if not path.is_relative_to(tmp_path / "out")} == set()


@pytest.mark.parametrize("key", ["backbone", "head", "freeze", "task", "adapter", "trainer"])
def test_a_strangers_record_names_no_code(
    image_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """Promise 47."""
    target = {"_target_": "os.system", "command": f"touch {tmp_path / CANARY}"}
    run = edited(image_run, tmp_path / "run", lambda record: record["config"].update({key: target}))
    before = files(tmp_path)
    for command in (
        ["export", str(run), "--format", "torch", "--output", str(tmp_path / "out")],
        ["predict", str(run), "x"],
    ):
        assert main(command) == 2
        assert f"{key}._target_: 'os.system' is not on the allow-list" in capsys.readouterr().err
    assert files(tmp_path) == before


@given(st.one_of(st.text(), st.sampled_from(HOSTILE), st.booleans(), st.none(), st.lists(st.text())))
def test_nothing_but_numbers_and_our_own_text_is_printed_into_a_program(value: object) -> None:
    """Promise 33: a template that would print a config's value cannot be written by mistake."""
    with pytest.raises(TypeError, match="has no place in a program"):
        print_value(value)
    assert print_value(Code("import json")) == "import json" and print_value(0.97) == "0.97" and print_value(3) == "3"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.clear(), "holds no weights"),
        (lambda state: state.update(weights=[3]), "holds no weights"),
        (lambda state: state["weights"]["head"].update({"linear.bias": 3}), "holds no weights"),
        (lambda state: state["weights"]["head"]["linear.bias"].fill_(torch.nan), "NaN or infinite numbers"),
    ],
)
def test_a_strangers_checkpoint_is_refused_in_a_sentence(
    image_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict], object], words: str
) -> None:
    """Promise 44: no prediction is made of weights that are no numbers."""
    run = shutil.copytree(image_run, tmp_path / "run")
    checkpoints = Checkpoints(run / "checkpoints")
    state = checkpoints.load_best()
    assert state is not None
    change(state)
    checkpoints.save(99, state, best=True)
    assert main(["predict", str(run), "x"]) == 2
    shown = capsys.readouterr().err
    assert words in shown and shown.count("\n") == 1
