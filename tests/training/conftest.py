"""Tiny networks with BatchNorm, dropout and drop path, a handful of digits, and all that trains them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.backbones.traced.builders import timm_backbone
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.data.image.datasets import Digits
from frostline.freeze.plan import Plan
from frostline.heads import MLP, Linear
from frostline.results.record import Record
from frostline.results.store import run_folder, run_id
from frostline.run import experiment
from frostline.run.experiment import run_experiment
from frostline.run.setup import Experiment
from frostline.tasks.base import better
from frostline.tasks.multiclass import Multiclass
from frostline.training.checkpoint import Checkpoints
from frostline.training.module import FineTuner
from frostline.training.optim import Schedule, constant
from frostline.training.phases import Journal, Progress, fit_phase, resume
from frostline.training.weights import Weights

SIZE = 32
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

    def fit(self, index: int, body: nn.Module | None = None, restore: dict[str, Any] | None = None) -> None:
        """Train one phase, or what is left of it."""
        self.module.enter(self.plan.phases[index], self.plan.start(index), body or self.backbone, restore)
        fit_phase(self.trainer, self.module, self.data, self.plan, index, self.journal)

    def resume(self) -> dict[str, Any] | None:
        """Go back to the last checkpoint; return its optimizer's state."""
        return resume(self.journal, self.plan)

    def photograph(self) -> list[Path]:
        """Return a list to which each epoch adds a copy of the run's folder."""
        folder, publish = self.checkpoints.folder.parent, self.journal.publish
        stops: list[Path] = []

        def publish_and_copy(rows: Sequence[Any]) -> None:
            publish(rows)
            stops.append(folder.with_name(f"{folder.name}-stop{len(rows)}"))
            shutil.copytree(folder, stops[-1])

        self.journal.publish = publish_and_copy
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

    def build(name: str = "test_resnet", seed: int = 0) -> Backbone:
        torch.manual_seed(seed)
        backbone = timm_backbone(name, "none", size=SIZE, options=DROPS[name])
        for parameter_name, parameter in backbone.named_parameters():
            if parameter_name in backbone.kinds()["norm"] and not parameter.any() and parameter_name.endswith("weight"):
                nn.init.ones_(parameter)  # timm closes branches at the start: nothing below would get a gradient
        return backbone

    return build


def trainer_for(journal: Journal, precision: Precision, epochs: int, folder: Path) -> pl.Trainer:
    """A trainer as a run has it, without a word, that validates on two batches."""
    return pl.Trainer(
        accelerator="cpu",
        callbacks=[journal],
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
    ) -> Rig:
        backbone = make(name)
        data = Digits(preprocess=backbone.preprocess, num_per_class=4, batch_size=20)
        head = MLP(backbone.num_features, 10, hidden=16) if mlp else Linear(backbone.num_features, 10, dropout=0.1)
        plan = strategy(tuple(backbone.groups), epochs)
        progress, rows, precision = Progress(), [], precision or Precision()
        weights, checkpoints = Weights(backbone, head, plan), Checkpoints((folder or tmp_path) / "checkpoints")
        journal = Journal(
            progress,
            checkpoints,
            weights,
            precision,
            Multiclass().scores,
            better=lambda new, old: better("accuracy", new, old),
            monitor="accuracy",
            publish=lambda history: rows.__setitem__(slice(None), history),
            charge=lambda epoch: None,
            seed=0,
        )
        module = FineTuner(
            backbone,
            head,
            make_optimizer=lambda groups: torch.optim.AdamW(groups, weight_decay=0.01),
            rate=1e-2,
            schedule=schedule or constant(),
            task=Multiclass(),
        )
        trainer = trainer_for(journal, precision, plan.epochs, tmp_path)
        return Rig(backbone, head, data, plan, module, trainer, journal, progress, weights, checkpoints, rows)

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
