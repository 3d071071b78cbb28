"""Put the parts of one run together, from its resolved config and from what an earlier sitting left."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from torch import nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, check_cut, find_cuts
from frostline.data.base import DataModule
from frostline.errors import UserError, choices
from frostline.features.cache import Store
from frostline.features.choose import Choice, choose_cut
from frostline.features.prefix import Features, PrefixCache
from frostline.freeze.plan import HEAD, Phase, Plan, learning_rates
from frostline.freeze.table import plan_table
from frostline.heads import Head
from frostline.ledger import Ledger
from frostline.metrics import NAMES, better, score
from frostline.results.record import write_table
from frostline.schema import instantiate
from frostline.training.checkpoint import Checkpoints
from frostline.training.module import FineTuner
from frostline.training.phases import Journal, Progress, Weights

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass
class Parts:
    """All parts of one run. ``choices`` says for each phase at which cut it is cached, or why not."""

    config: dict[str, Any]
    folder: Path
    data: DataModule
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

    def restore(self) -> dict[str, Any] | None:
        """Go back to the last checkpoint, if there is one; return its optimizer's state when a phase goes on inside."""
        state = self.checkpoints.latest()
        if state is None:
            return None
        self.weights.load(state["weights"])
        vars(self.progress).update(state["progress"])
        self.journal.random_state = state["rng"]
        self.ledger.resume()
        return state["optimizer"] if self._inside_a_phase() else None

    def _inside_a_phase(self) -> bool:
        epoch = self.progress.epoch
        return epoch < self.plan.epochs and self.plan.at(epoch)[1] > 0

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
        start, epochs = self.plan.start(index), self.plan.phases[index].epochs
        return sorted({self.data.view(epoch) for epoch in range(start, start + epochs)})

    def ahead(self, index: int) -> list[Cut]:
        """Return the cuts of later phases whose prefixes stay as they are until then: one pass serves them all."""
        found: dict[str, Cut] = {}
        changed: set[str] = set()
        for later in range(index + 1, len(self.plan.phases)):
            changed |= set(trains(self.plan.phases[later - 1], self.backbone))
            cut = self.choices[later].cut
            if cut is not None and not cut.parameters & changed:
                found[cut.name] = cut
        return list(found.values())

    def untouched(self, index: int) -> bool:
        """Return whether a phase's prefix still has the weights that the run began with."""
        cut = self.choices[index].cut
        changed = {name for phase in self.plan.phases[:index] for name in trains(phase, self.backbone)}
        return cut is not None and not cut.parameters & changed

    def serve(self, index: int, sources: dict[str, Features]) -> None:
        """Let the loaders serve these sources, and the ledger count what they save."""
        self.data.use(sources)
        self.ledger.begin(index, {name: source.seconds_per_sample for name, source in sources.items()})

    def features(self, split: str, index: int, sources: dict[str, Features]) -> Features:
        """Return the backbone's output for a phase's views, from ``sources`` or computed here and kept in memory."""
        cut = self.choices[index].cut
        if cut is not None and cut.name == self.cuts[-1].name:
            return sources[split]
        memory = PrefixCache(None, self.backbone, self.data, autocast=self.cache.autocast, device=self.cache.device)
        return memory.collect(split, self.cuts[-1], self.views(index) if split == "train" else [0])

    def show_plan(self) -> None:
        """Print the notes and the plan's table."""
        console = Console(stderr=True, highlight=False)
        for note in (*self.data.notes, *self.backbone.notes):
            console.print(note, markup=False)
        console.print(plan_table(self.plan, self.sizes(), self._trainable(), self._cache_texts()))

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

    def describe_data(self) -> dict[str, Any]:
        """Return what a record says of the data."""
        counts = {name: len(split) for name, split in self.data.splits.items()}
        return {"fingerprint": self.data.fingerprint, "counts": counts, "classes": self.data.classes}


def trains(phase: Phase, backbone: Backbone) -> dict[str, float]:
    """Return the backbone parameters that train in a phase, with the scales of their learning rates."""
    return learning_rates(phase, backbone.groups, backbone.norms())


def count(module: nn.Module) -> int:
    """Return the number of a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def assemble(config: dict[str, Any], folder: Path) -> Parts:
    """Make every part of a run; nothing is trained and no image decoded yet. Raises UserError for a wrong config."""
    check(config)
    pl.seed_everything(config["seed"], verbose=False)
    backbone, plan = network(config)
    data = dataset(config, backbone)
    head = instantiate(config["head"], "head", features=backbone.num_features, classes=len(data.classes))
    checkpoints = Checkpoints(folder / "checkpoints")
    progress = Progress()
    weights = Weights(backbone, head, plan)
    ledger = Ledger(progress, plan, {name: len(split) for name, split in data.splits.items()})
    monitor = config["monitor"]
    journal = Journal(
        progress,
        checkpoints,
        weights,
        score,
        better=lambda new, old: better(monitor, new, old),
        monitor=monitor,
        publish=lambda rows: write_table(folder / "metrics.csv", rows),
        charge=ledger.charge,
    )
    trainer = make_trainer(config, folder, journal)
    cache = make_cache(config, backbone, data, trainer)
    ledger.cache = cache
    cuts = find_cuts(backbone, backbone.preprocess.size)
    return Parts(
        config=config,
        folder=folder,
        data=data,
        backbone=backbone,
        fingerprint=backbone.fingerprint(),
        head=head,
        plan=plan,
        choices=[choose(config, backbone, data, plan, cuts, index, cache) for index in range(len(plan.phases))],
        cuts=cuts,
        cache=cache,
        module=make_module(config, backbone, head),
        trainer=trainer,
        journal=journal,
        progress=progress,
        ledger=ledger,
        weights=weights,
        checkpoints=checkpoints,
    )


def check(config: dict[str, Any]) -> None:
    """Refuse what no part can look after by itself."""
    if config["monitor"] not in NAMES:
        raise choices("monitor", config["monitor"], NAMES)
    if config["trainer"]["precision"] not in PRECISIONS:
        raise choices("trainer.precision", config["trainer"]["precision"], PRECISIONS)
    if "lr" not in config["optimizer"]:
        raise UserError("optimizer.lr is missing; give the learning rate, for example optimizer.lr=0.001.")


def network(config: dict[str, Any]) -> tuple[Backbone, Plan]:
    """Return the backbone and its plan; a plan of a control experiment asks for random weights."""
    options = {"size": config["data"]["size"]}
    backbone = instantiate(config["backbone"], "backbone", **options, pretrained=True)
    plan = instantiate(config["freeze"], "freeze", groups=tuple(backbone.groups), epochs=config["epochs"])
    if not plan.pretrained:
        pl.seed_everything(config["seed"], verbose=False)
        backbone = instantiate(config["backbone"], "backbone", **options, pretrained=False)
    return backbone, plan


def dataset(config: dict[str, Any], backbone: Backbone) -> DataModule:
    """Return the data, prepared as the backbone wants it."""
    augment = instantiate(config["augment"], "augment") if "_target_" in config["augment"] else None
    return instantiate(config["data"], "data", preprocess=backbone.preprocess, augment=augment, seed=config["seed"])


def make_module(config: dict[str, Any], backbone: Backbone, head: Head) -> FineTuner:
    """Return the LightningModule with its optimizer and schedule."""
    return FineTuner(
        backbone,
        head,
        make_optimizer=lambda groups: instantiate(config["optimizer"], "optimizer", params=groups),
        rate=config["optimizer"]["lr"],
        schedule=instantiate(config["schedule"], "schedule"),
        label_smoothing=config["loss"]["label_smoothing"],
    )


def make_trainer(config: dict[str, Any], folder: Path, journal: Journal) -> pl.Trainer:
    """Return the one Trainer of a run; checkpoints and sample order are Frostline's own."""
    node = dict(config["trainer"])
    node["enable_progress_bar"] = node.get("enable_progress_bar", True) and sys.stderr.isatty()
    logger = instantiate(config["logger"], "logger", save_dir=str(folder)) if "_target_" in config["logger"] else False
    return instantiate(
        node,
        "trainer",
        callbacks=[journal],
        logger=logger,
        max_epochs=config["epochs"],
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
    )


def make_cache(config: dict[str, Any], backbone: Backbone, data: DataModule, trainer: pl.Trainer) -> PrefixCache:
    """Return the prefix cache, on the device and in the precision that the run trains in."""
    keys = config["cache"]
    return PrefixCache(
        Store(Path(config["outputs"]) / "cache"),
        backbone,
        data,
        precision=config["trainer"]["precision"],
        autocast=trainer.strategy.precision_plugin.forward_context,
        device=trainer.strategy.root_device,
        memory_bytes=keys["memory_gb"] * 1e9,
        max_bytes=keys["max_gb"] * 1e9,
    )


def choose(
    config: dict[str, Any],
    backbone: Backbone,
    data: DataModule,
    plan: Plan,
    cuts: list[Cut],
    index: int,
    cache: PrefixCache,
) -> Choice:
    """Return where a phase is cached, or why it is not; a cut that does not give the network back is refused."""
    if not config["cache"]["enabled"]:
        return Choice(None, "cache.enabled is false")
    if data.views is None:
        return Choice(None, "data.views is null: every epoch sees fresh views")
    trainable = set(trains(plan.phases[index], backbone))
    start, epochs = plan.start(index), plan.phases[index].epochs
    views = len({data.view(epoch) for epoch in range(start, start + epochs)})
    samples = len(data.splits["train"]) * views + len(data.splits["val"]) + len(data.splits["test"])
    usable = list(cuts)
    while True:
        choice = choose_cut(usable, trainable, samples, cache.max_bytes, cache.device.type)
        if choice.cut is None or check_cut(backbone, choice.cut.name, backbone.preprocess.size):
            return choice
        usable.remove(choice.cut)
