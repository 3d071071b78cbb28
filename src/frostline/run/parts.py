"""The parts of one run, and what can be asked of them together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from torch import nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut
from frostline.config.schema import Run
from frostline.data.base import DataModule
from frostline.errors import printable
from frostline.features.policy import Choice
from frostline.features.prefix import Features, PrefixCache
from frostline.freeze.plan import HEAD, Phase, Plan, learning_rates
from frostline.freeze.table import plan_table
from frostline.heads import Head
from frostline.ranks.collectives import Group
from frostline.run.costs import Ledger
from frostline.tasks.base import Task
from frostline.training.checkpoint import Checkpoints
from frostline.training.loggers import Loggers
from frostline.training.module import FineTuner
from frostline.training.phases import Journal, Progress
from frostline.training.weights import Weights


@dataclass
class Parts:
    """All parts of one run.

    ``content`` is the SHA-256 of all files that the data set is made of, of which a run's ID is made as well;
    ``choices`` says for each phase at which cut it is cached, or why not.
    """

    config: Run
    folder: Path
    task: Task
    data: DataModule
    content: str | None
    backbone: Backbone
    fingerprint: str
    head: Head
    plan: Plan
    choices: list[Choice]
    cuts: list[Cut]
    cache: PrefixCache
    module: FineTuner
    trainer: pl.Trainer
    journal: Journal
    progress: Progress
    ledger: Ledger
    weights: Weights
    checkpoints: Checkpoints
    loggers: Loggers
    group: Group

    def best_epoch(self) -> int:
        """Return the epoch with the best value of ``monitor`` on validation."""
        assert self.progress.best is not None, "no epoch has ended"
        return int(self.progress.best["epoch"])

    def load_best(self) -> None:
        """Restore the weights of the best epoch. Raises OSError when its checkpoint is gone or damaged."""
        state = self.checkpoints.best()
        if state is None:
            raise OSError(f"{self.checkpoints.folder}: the best checkpoint is damaged; run again with force=true")
        self.weights.load(state["weights"])

    def solves(self, index: int) -> bool:
        """Return whether a phase is solved: the head trains alone and its solver is set."""
        return self.plan.phases[index].head_only and self.head.solver is not None

    def views(self, index: int) -> list[int]:
        """Return the views of the training samples that a phase sees."""
        return views(self.plan, self.data, index)

    def ahead(self, index: int) -> list[Cut]:
        """Return the cuts of later phases whose prefixes stay as they are until then: one pass serves them all."""
        later = range(index + 1, len(self.plan.phases))
        return list({cut.name: cut for place in later if (cut := self._kept(index, place)) is not None}.values())

    def untouched(self, index: int) -> bool:
        """Return whether a phase's prefix still has the weights that the run began with."""
        return self._kept(0, index) is not None

    def _kept(self, start: int, index: int) -> Cut | None:
        return kept(self.plan, self.backbone, self.choices, start, index)

    def serve(self, index: int, sources: dict[str, Features]) -> None:
        """Let the loaders serve these sources, and the ledger count what they save."""
        self.data.use(sources)
        self.ledger.begin(index, {name: source.seconds_per_sample for name, source in sources.items()})

    def features(self, split: str, index: int, sources: dict[str, Features]) -> Features:
        """Return the backbone's output for a phase's views, from ``sources`` or computed here and kept in memory."""
        cut = self.choices[index].cut
        if cut is not None and cut.name == self.cuts[-1].name:
            return sources[split]
        memory = PrefixCache(
            None, self.backbone, self.data, autocast=self.cache.autocast, device=self.cache.device, group=self.group
        )
        return memory.collect(split, self.cuts[-1], self.views(index) if split == "train" else [0])

    def show_plan(self) -> None:
        """Print the notes and the plan's table, on the rank that leads."""
        if not self.group.leads:
            return
        console = Console(stderr=True, highlight=False)
        for note in (self.data.summary, *self.data.notes, *self.backbone.notes):
            console.print(printable(note), markup=False, soft_wrap=True)
        given = self.config.backbone.get("weights", "pretrained") not in (None, "none")
        plan = replace(self.plan, pretrained=self.plan.pretrained and given)  # what a user may have turned off
        console.print(plan_table(plan, self.sizes(), self._trainable(), self._cache_texts()))

    def _cache_texts(self) -> list[str]:
        return [self._cache_text(index, choice) for index, choice in enumerate(self.choices)]

    def _cache_text(self, index: int, choice: Choice) -> str:
        if choice.cut is None:
            return choice.reason
        views, epochs = len(self.views(index)), self.plan.phases[index].epochs
        return f"{choice.reason}; {views} pass{'es' if views > 1 else ''} for {epochs} epoch{'s' if epochs > 1 else ''}"

    def sizes(self) -> dict[str, int]:
        """Return the parameters of each group and of the head."""
        each = {name: parameter.numel() for name, parameter in self.backbone.named_parameters()}
        groups = {group: sum(each[name] for name in names) for group, names in self.backbone.groups.items()}
        return {**groups, HEAD: count(self.head)}

    def _trainable(self) -> list[dict[str, int]]:
        each = {name: parameter.numel() for name, parameter in self.backbone.named_parameters()}
        tables = []
        for phase in self.plan.phases:
            rates = trains(phase, self.backbone)
            groups = self.backbone.groups.items()
            table = {group: sum(each[name] for name in names if name in rates) for group, names in groups}
            tables.append({**table, HEAD: count(self.head) if HEAD in phase.train else 0})
        return tables

    def count_parameters(self) -> dict[str, Any]:
        """Return the number of parameters in all, and of those that train in each phase."""
        return {"total": sum(self.sizes().values()), "trainable": [sum(table.values()) for table in self._trainable()]}

    def describe_task(self) -> dict[str, Any]:
        """Return what a record says of the task: its scores, and what it took from the training labels."""
        return self.task.describe()

    def describe_data(self) -> dict[str, Any]:
        """Return what a record says of the data."""
        counts = {name: len(split) for name, split in self.data.splits.items()}
        return {
            "content": self.content,
            "fingerprint": self.data.fingerprint,
            "counts": counts,
            "classes": self.data.classes,
            "class_counts": self.data.class_counts,
            **self.data.known,
        }


def views(plan: Plan, data: DataModule, index: int) -> list[int]:
    """Return the views of the training samples that a phase sees."""
    start = plan.start(index)
    return sorted({data.view(epoch) for epoch in range(start, start + plan.phases[index].epochs)})


def kept(plan: Plan, backbone: Backbone, choices: Sequence[Choice], start: int, index: int) -> Cut | None:
    """Return a phase's cut if no phase from ``start`` up to it trains anything below that cut."""
    cut = choices[index].cut
    changed = {name for phase in plan.phases[start:index] for name in trains(phase, backbone)}
    return cut if cut is not None and not cut.parameters & changed else None


def trains(phase: Phase, backbone: Backbone) -> dict[str, float]:
    """Return the backbone parameters that train in a phase, with the scales of their learning rates."""
    return learning_rates(phase, backbone.groups, backbone.norms())


def count(module: nn.Module) -> int:
    """Return the number of a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
