"""A script that trains a network of its own and is killed, or stopped by Ctrl-C, ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
import torch
from torch import nn
from torch.utils.data import Dataset
from frostline.api.own import train

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.low = nn.Linear(6, 32)
        self.drop = nn.Dropout(0.5)
        self.high = nn.Linear(32, 16)

    def forward(self, x):
        return torch.relu(self.high(self.drop(torch.relu(self.low(x)))))

class Rows(Dataset):
    def __init__(self, count):
        self.inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(count))

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        time.sleep(float(sys.argv[2]))
        return self.inputs[index] + 0.1 * torch.randn(6), int(self.inputs[index].sum() > 0)

torch.manual_seed(0)
data = {"train": Rows(96), "val": Rows(20), "test": Rows(30)}
settings = {"freeze": "gradual", "epochs": 6, "optimizer": {"lr": 0.01}, "trainer": {"accelerator": "cpu"}}
found = train(Net(), data, "data.batch_size=16", outputs=sys.argv[1], **settings)
print(found.folder)
"""


def start(script: Path, outputs: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(outputs), str(pause)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))


def finish(script: Path, outputs: Path) -> dict:
    process = start(script, outputs, 0.0)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads((Path(said.splitlines()[-1]) / "record.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_script_that_was_stopped_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = start(script, tmp_path / "stopped", 0.01)
    deadline = time.monotonic() + 200
    while not any("\n1," in path.read_text() for path in (tmp_path / "stopped").glob("runs/*/metrics.csv")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert number == signal.SIGKILL or "KeyboardInterrupt" in errors
    records = [json.loads(path.read_text()) for path in (tmp_path / "stopped").glob("runs/*/record.json")]
    assert [one["reason"] for one in records] == ([] if number == signal.SIGKILL else ["stopped by SIGINT"])
    resumed, whole = finish(script, tmp_path / "stopped"), finish(script, tmp_path / "whole")
    assert resumed["id"] == whole["id"] and resumed["status"] == whole["status"] == "done"
    assert resumed["metrics"] == whole["metrics"] and resumed["moved"] == whole["moved"]
    (folder,) = (tmp_path / "stopped").glob("runs/*")
    assert "Going on after" in (folder / "log.txt").read_text()
