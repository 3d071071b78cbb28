"""A job starts in the folder of the command, and imports nothing from it."""

from pathlib import Path

import pytest
from lab import Lab
from tests.processes.test_import_path import shadow

from conftest import Make, run
from frostline.launchers.base import Job

pytestmark = pytest.mark.slow


def test_a_job_imports_nothing_from_the_folder_of_the_command(
    lab: Lab, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 31, whatever the cluster hands on of the shell's variables."""
    canary = shadow(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    record = run(Job("shadowed", make("data.workers=1", "augment=light", "data.views=null", "epochs=1")))["shadowed"]
    assert not canary.exists(), canary.read_text()
    assert record["status"] == "done", record["reason"]
