"""Commands that stand in for SLURM's."""

from pathlib import Path

import pytest


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for commands that stand in for SLURM's; each notes that it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "squeue", "scancel", "srun"):
        script = (
            f'#!/bin/sh\necho "{name} $*" >> {folder}/called\ntest -f {folder}/{name}.out && cat {folder}/{name}.out\n'
        )
        (folder / name).write_text(f"{script}exit 0\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder
