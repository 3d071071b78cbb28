"""Tiny networks with BatchNorm, dropout and drop path, a handful of digits, and all that trains them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from tests import configs
from tests.tuners import make_tuner
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.data.image.datasets import Digits
from frostline.freeze.plan import Plan
from frostline.heads import MLP, Linear
from frostline.results.record import Record
from frostline.results.store import run_folder, run_id
from frostline.runs import experiment
from frostline.runs.experiment import run_experiment
from frostline.runs.setup import Experiment
from frostline.tasks.declarations import MULTICLASS
from frostline.tasks.multiclass import Multiclass
from frostline.training.checkpoint import Checkpoints
from frostline.training.journal import Journal, Listeners
from frostline.training.module import FineTuner
from frostline.training.objectives.base import Objective
from frostline.training.optim import Schedule
from frostline.training.phases import fit_phase
from frostline.training.state import Progress, RunState
from frostline.training.weights import Weights

SIZE = 32
ADAMW = partial(torch.optim.AdamW, weight_decay=0.01)
DROPS: dict[str, dict[str, float]] = {
    "test_resnet": {"drop_path_rate": 0.2, "drop_block_rate": 0.0},
    "test_efficientnet": {"drop_path_rate": 0.2},
    "test_vit": {"drop_path_rate": 0.2, "proj_drop_rate": 0.1, "pos_drop_rate": 0.1, "attn_drop_rate": 0.1},
}


@dataclass
class Rig:
    """All parts that train one plan, put together as an experiment does."""

    backbone: Backbone
    head: nn.Module
    data: Digits
    plan: Plan
    module: FineTuner
    trainer: pl.Trainer
    journal: Journal
    progress: Progress
    weights: Weights
    checkpoints: Checkpoints
    rows: list[Mapping[str, Any]]
    on_row: list[Callable[[], None]]

    def fit(self, index: int, body: nn.Module | None = None, restore: dict[str, Any] | None = None) -> None:
        """Train one phase, or what is left of it."""
        self.module.enter(self.plan.phases[index], self.plan.start(index), body or self.backbone, restore)
        fit_phase(self.trainer, self.module, self.data, index, self.journal)

    def resume(self) -> dict[str, Any] | None:
        """Go back to the last checkpoint; return its optimizer's state."""
        return self.journal.resume()

    def photograph(self) -> list[Path]:
        """Return a list to which each epoch adds a copy of the run's folder."""
        folder = self.checkpoints.folder.parent
        stops: list[Path] = []

        def copy_folder() -> None:
            stops.append(folder.with_name(f"{folder.name}-stop{len(self.rows)}"))
            shutil.copytree(folder, stops[-1])

        self.on_row.append(copy_folder)
        return stops

    def tensors(self) -> dict[str, Tensor]:
        """A copy of every parameter and buffer, those outside the state dict too."""
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        return {name: value.detach().clone() for name, value in named if not name.startswith("body.")}


Make = Callable[..., Backbone]
Build = Callable[..., Rig]


@pytest.fixture
def make() -> Make:
    """Return a builder of tiny networks that drop a good deal; equal arguments give equal weights."""

    def build_network(name: str = "test_resnet", seed: int = 0) -> Backbone:
        torch.manual_seed(seed)
        backbone = configs.make("backbone/timm", name=name, weights="none", size=SIZE, options=DROPS[name])
        for parameter_name, parameter in backbone.named_parameters():
            if parameter_name in backbone.kinds()["norm"] and not parameter.any() and parameter_name.endswith("weight"):
                nn.init.ones_(parameter)  # timm closes branches at the start: nothing below would get a gradient
        return backbone

    return build_network


class NoCosts:
    """What a run has cost, where nobody asks."""

    def charge(self, epoch: int) -> None:
        """Charge nothing."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take nothing."""


def trainer_for(callbacks: Sequence[pl.Callback], precision: Precision, epochs: int, folder: Path) -> pl.Trainer:
    """A trainer as a run has it, without a word, that validates on two batches."""
    return pl.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        plugins=[precision],
        logger=False,
        max_epochs=epochs,
        limit_val_batches=2,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
    )


@pytest.fixture
def build(make: Make, tmp_path: Path) -> Build:
    """Return a builder of rigs: a plan from a strategy, a few digits, Adam with decay."""

    def rig(
        strategy: Callable[[Sequence[str], int], Plan],
        name: str = "test_resnet",
        epochs: int = 2,
        mlp: bool = False,
        schedule: Schedule | None = None,
        folder: Path | None = None,
        precision: Precision | None = None,
        optimizer: Callable[..., Any] = ADAMW,
        rate: float = 1e-2,
        task: Multiclass | None = None,
        callbacks: Sequence[pl.Callback] = (),
        objective: Objective | None = None,
    ) -> Rig:
        backbone = make(name)
        data = configs.make("data/digits", preprocess=backbone.preprocess, num_per_class=4, batch_size=20, size=None)
        kind = partial(MLP, hidden=16) if mlp else Linear
        head = kind(backbone.num_features, 10, dropout=0.1, solver=None)
        plan = strategy(tuple(backbone.groups), epochs)
        rows: list[Mapping[str, Any]] = []
        on_row: list[Callable[[], None]] = []

        def publish(history: Sequence[Mapping[str, Any]]) -> None:
            rows[:] = history
            for act in on_row:
                act()

        trainer = trainer_for(callbacks, precision or Precision(), plan.epochs, tmp_path)
        weights, checkpoints = Weights(backbone, head, plan), Checkpoints((folder or tmp_path) / "checkpoints")
        state = RunState(trainer, weights, checkpoints, NoCosts())
        journal = Journal(state, plan, MULTICLASS.metric("accuracy"), Listeners(publish), seed=0)
        trainer.callbacks.append(journal)  # type: ignore[attr-defined]
        module = make_tuner(backbone, head, task, optimizer, rate, schedule, objective, weights.parameters)
        return Rig(
            backbone, head, data, plan, module, trainer, journal, state.progress, weights, checkpoints, rows, on_row
        )

    return rig


Configure = Callable[..., tuple[Run, Path]]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Return a maker of small runs' configs, each with its folder: a phase that is solved, then one that is fitted."""

    def config_of(*overrides: str, config_dir: Path | None = None) -> tuple[Run, Path]:
        small = ["backbone=timm", "backbone.weights=none", "backbone.name=test_resnet", "freeze=lp_ft", "epochs=2"]
        data = [f"data.size={SIZE}", "data.num_per_class=4", "augment=none", "trainer.accelerator=cpu"]
        config = resolve(compose("run", [*small, *data, f"outputs={tmp_path / 'outputs'}", *overrides], config_dir))
        folder = run_folder(Path(config.outputs), run_id(config))
        folder.mkdir(parents=True, exist_ok=True)
        return config, folder

    return config_of


@pytest.fixture
def run(configure: Configure) -> Callable[..., tuple[Record, Path]]:
    """Run such a config in this process; return its record and folder."""

    def run_one(*overrides: str) -> tuple[Record, Path]:
        config, folder = configure(*overrides)
        return run_experiment(config, folder.name, folder), folder

    return run_one


@pytest.fixture
def cut_short(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the next run be stopped by a signal when it begins the phase that is named."""

    def stop_at(phase: int) -> None:
        train_phase = experiment.train_phase

        def stopped(parts: Experiment, index: int, optimizer: dict[str, Any] | None) -> None:
            if index == phase:
                monkeypatch.setattr(experiment, "train_phase", train_phase)
                raise KeyboardInterrupt
            train_phase(parts, index, optimizer)

        monkeypatch.setattr(experiment, "train_phase", stopped)

    return stop_at
