"""The record: what a run leaves behind, in one JSON file."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from frostline import __version__
from frostline.files.atomic import WriteError, give_up_reserve, write_json
from frostline.results.store import RECORD

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "timm",
    "hydra-core",
    "scikit-learn",
    "numpy",
)


@dataclass
class Cost:
    """What a run cost, over all its sittings; ``seconds`` leaves out the start of the process.

    FLOPs count a multiplication and an addition as two, in training, validation and test as they were run: what was
    read from the cache is in ``flops_saved`` instead, and the pass that filled the cache, which serves many runs, is
    in neither. ``checkpoint_bytes`` is the best checkpoint's size on disk. The peaks are of the ranks that took most:
    resident memory of the process, and what its tensors took of its GPU (0 where it has none).
    """

    seconds: float = 0.0
    phases: list[float] = field(default_factory=list)
    cache_seconds: float = 0.0
    seconds_saved: float = 0.0
    peak_host_bytes: int = 0
    peak_device_bytes: int = 0
    samples_per_second: float = 0.0
    forward_flops: float = 0.0
    backward_flops: float = 0.0
    flops_saved: float = 0.0
    checkpoint_bytes: int = 0


@dataclass
class Record:
    """One run's results. ``metrics`` has a table of scores for each split; ``parameters`` counts per phase.

    ``moved`` and ``similarity`` are explained in ``frostline.runs.drift``, ``mistakes`` in ``frostline.runs.mistakes``;
    a trial (``test: false``) has none of them, and no scores of the test split. ``machine`` is that of
    `frostline.ranks.machine`; ``earlier`` has those of earlier sittings where they were others: times and memory
    are of all.
    """

    id: str
    status: str
    config: dict[str, Any]
    reason: str | None = None
    traceback: str | None = None
    user_error: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)
    similarity: dict[str, float] = field(default_factory=dict)
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    epochs: int = 0
    best_epoch: int | None = None
    cost: Cost = field(default_factory=Cost)
    notes: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, float]:
        """Return the test scores and the costs as one flat table, ``test/accuracy`` and ``cost/seconds``."""
        scores = {f"test/{name}": value for name, value in self.metrics.get("test", {}).items()}
        costs = {f"cost/{name}": value for name, value in asdict(self.cost).items() if not isinstance(value, list)}
        return scores | costs

    def write(self, folder: Path) -> "Record":
        """Write ``record.json`` atomically; return the record that is there now.

        If the disk is full the folder's reserve is released. If that is not enough, a short record is written, which
        says that the run failed, and why. Raises WriteError where that does not fit either.
        """
        try:
            write_json(folder / RECORD, self.plain())
        except WriteError as refused:
            give_up_reserve(folder)
            return self._write_what_fits(folder, refused)
        give_up_reserve(folder)
        return self

    def _write_what_fits(self, folder: Path, refused: WriteError) -> "Record":
        for found in (self, self.cut_short(refused)):
            try:
                write_json(folder / RECORD, found.plain())
            except WriteError:
                continue
            return found
        raise refused

    def cut_short(self, refused: WriteError) -> "Record":
        """Return the record of this run without its results, as the disk has refused to take them."""
        reason = str(refused) if self.status == "done" else f"{self.reason}; then {refused}"
        status = "failed" if self.status == "done" else self.status
        return Record(self.id, status, self.config, reason, user_error=self.user_error)

    def plain(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        return _replace_infinite(asdict(self))

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Record":
        """Return the record that ``plain`` (with other keys, perhaps) stands for."""
        known = {one.name: plain[one.name] for one in fields(cls) if one.name in plain}
        return cls(**{**known, "cost": Cost(**plain["cost"])})


def _replace_infinite(value: Any) -> Any:
    """Return the value with None for NaN and infinities, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: _replace_infinite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_infinite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def read_versions() -> dict[str, str]:
    """Return the versions of Python, of Frostline and of the packages that decide a result."""
    found = {"python": platform.python_version(), "frostline": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def read_git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and cleanness of the repository around ``folder``, or None outside of one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (FileNotFoundError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
