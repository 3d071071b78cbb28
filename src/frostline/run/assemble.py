"""Put the parts of one run together, from its resolved config and from what an earlier sitting left."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, check_cut, find_cuts
from frostline.config.allow import BARS
from frostline.config.schema import Run, instantiate
from frostline.config.switches import check_switches
from frostline.data.base import DataModule
from frostline.data.content import data_content, place_of
from frostline.data.index import DataIndex, index_folder
from frostline.data.splits import SPLITS
from frostline.errors import UserError, choices
from frostline.features.cache import Store
from frostline.features.policy import Choice, choose_cut
from frostline.features.prefix import PrefixCache
from frostline.files.sheet import write_sheet
from frostline.freeze.plan import Plan
from frostline.heads import Head, check_frames
from frostline.ranks.collectives import ALONE, Group, check_alike, check_shared, environment, form
from frostline.ranks.devices import check_devices, check_precision
from frostline.ranks.machine import describe_machine
from frostline.ranks.numerics import computing, describe_numerics, device_name, set_numerics
from frostline.results.pruning import ask
from frostline.results.record import versions
from frostline.run import own
from frostline.run.costs import Ledger
from frostline.run.network import NOTHING, fit_adapter, network
from frostline.run.parts import Parts, views
from frostline.tasks.base import Task, better
from frostline.training.checkpoint import Checkpoints
from frostline.training.loggers import Loggers, make_loggers
from frostline.training.module import FineTuner
from frostline.training.pause import own_signals
from frostline.training.phases import Journal, Progress
from frostline.training.weights import Weights

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def assemble(config: Run, folder: Path, given: Mapping[str, Any] = NOTHING) -> Parts:
    """Make every part of a run; nothing is trained and no image decoded yet. Raises UserError for a wrong config."""
    check(config)
    check_devices(config.trainer)
    set_numerics(config.trainer)
    trainer: Any = make_trainer(config, folder)
    check_precision(config.trainer["precision"], trainer.strategy.root_device.type)
    own_signals(trainer)
    group = form(trainer, config)
    check_alike(group, versions())
    check_shared(group, Path(config.outputs))
    backbone, plan, task, data, head = ingredients(config, trainer, group, given)
    checkpoints = Checkpoints(folder / "checkpoints")
    progress = Progress()
    weights = Weights(backbone, head, plan)
    machine = describe_machine(trainer.strategy.root_device, config.trainer, group)
    ledger = Ledger(progress, plan, {name: len(split) for name, split in data.splits.items()}, group, machine)
    loggers = make_loggers(config, folder) if group.leads else Loggers({}, folder, {}, 0.0)
    journal = make_journal(
        config, folder, task, progress, checkpoints, weights, trainer.precision_plugin, ledger, loggers, group
    )
    trainer.callbacks.append(journal)
    cache = make_cache(config, backbone, data, trainer, group)
    ledger.cache = cache
    cuts = find_cuts(backbone, data.typical)
    return Parts(
        config=config,
        folder=folder,
        task=task,
        data=data,
        content=data_content(config.data, Path(config.outputs)) if group.leads else None,
        backbone=backbone,
        fingerprint=backbone.fingerprint(),
        head=head,
        plan=plan,
        choices=[choose(config, backbone, data, plan, cuts, index, cache) for index in range(len(plan.phases))],
        cuts=cuts,
        cache=cache,
        module=make_module(config, backbone, head, task, group),
        trainer=trainer,
        journal=journal,
        progress=progress,
        ledger=ledger,
        weights=weights,
        checkpoints=checkpoints,
        loggers=loggers,
        group=group,
    )


def ingredients(
    config: Run, trainer: pl.Trainer, group: Group, given: Mapping[str, Any] = NOTHING
) -> tuple[Backbone, Plan, Task, DataModule, Head]:
    """Return what is trained, by which plan, for which task, on which data: what a run is about."""
    pl.seed_everything(config.seed, verbose=False)
    backbone, plan = network(config, given)
    if config.trainer.get("sync_batchnorm"):
        synchronise(backbone, trainer, group)
    task = make_task(config)
    data = dataset(config, backbone, task, given)
    task.fit(data.splits["train"].labels, data.classes)
    fit_adapter(backbone, data)
    data.used = SPLITS if config.test else ("train", "val")
    head = instantiate(config.head, "head", features=backbone.num_features, classes=task.width(data.classes))
    check_solving(config, task, head, plan)
    return backbone, plan, task, data, head


def check(config: Run) -> None:
    """Refuse what no part can look after by itself."""
    check_switches(config.trainer)
    if config.trainer["precision"] not in PRECISIONS:
        raise choices("trainer.precision", config.trainer["precision"], PRECISIONS)
    if "lr" not in config.optimizer:
        raise UserError("optimizer.lr is missing; give the learning rate, for example optimizer.lr=0.001.")


def make_task(config: Run) -> Task:
    """Return what is asked of the labels. Raises UserError for a ``monitor`` that is none of its scores."""
    task = instantiate(config.task, "task")
    if config.metric not in task.metrics:
        raise choices("monitor", config.metric, task.metrics)
    check_frames(task, config.backbone.get("pooling"))
    return task


def check_solving(config: Run, task: Task, head: Head, plan: Plan) -> None:
    """Refuse settings that a solved head cannot follow, rather than ignore them. Raises UserError."""
    if head.solver is None or not any(phase.head_only for phase in plan.phases):
        return
    if task.solver is None:
        raise UserError(f"head.solver: task={task.name} is learnt in steps only, as it is set up here; use null.")
    if config.data.get("balanced"):
        raise UserError(
            "data.balanced: a solved head sees every sample once; use task.class_weights=balanced, or head.solver=null."
        )


def synchronise(backbone: Backbone, trainer: pl.Trainer, group: Group) -> None:
    """Let BatchNorm normalise over all ranks. Raises UserError on processors, where torch has no such thing."""
    if group.world > 1:
        if trainer.strategy.root_device.type != "cuda":
            raise UserError("trainer.sync_batchnorm: torch synchronises BatchNorm on GPUs alone; leave it false here.")
        backbone.synchronise()


def dataset(config: Run, backbone: Backbone, task: Task, given: Mapping[str, Any] = NOTHING) -> DataModule:
    """Return the data, prepared as the backbone wants it, its labels as the task does."""
    augment = instantiate(config.augment, "augment") if "_target_" in config.augment else None
    run: dict[str, Any] = {
        "preprocess": backbone.preprocess,
        "augment": augment,
        "task": task,
        "seed": config.seed,
    }
    run["index"] = DataIndex(index_folder(Path(config.outputs)), place_of(config.data) or "")
    return own.make_data(config.data, given, lambda key, make: make(), **run)


def make_module(config: Run, backbone: Backbone, head: Head, task: Task, group: Group) -> FineTuner:
    """Return the LightningModule with its optimizer and schedule."""
    return FineTuner(
        backbone,
        head,
        make_optimizer=lambda groups: instantiate(config.optimizer, "optimizer", params=groups),
        rate=config.optimizer["lr"],
        schedule=instantiate(config.schedule, "schedule"),
        task=task,
        group=group,
    )


def make_journal(
    config: Run,
    folder: Path,
    task: Task,
    progress: Progress,
    checkpoints: Checkpoints,
    weights: Weights,
    precision: Precision,
    ledger: Ledger,
    loggers: Loggers,
    group: Group,
) -> Journal:
    """Return what keeps each epoch: its checkpoint, its line of metrics.csv, its row in the loggers and its cost."""
    monitor = config.metric

    def publish(rows: Sequence[Mapping[str, Any]]) -> None:
        write_sheet(folder / "metrics.csv", rows)
        loggers.row(rows[-1])

    return Journal(
        progress,
        checkpoints,
        weights,
        precision,
        task.scores,
        better=lambda new, old: better(monitor, new, old),
        monitor=monitor,
        publish=publish,
        charge=ledger.charge,
        seed=config.seed,
        group=group,
        judge=(lambda epoch: ask(folder, epoch)) if config.judged else (lambda epoch: False),
    )


def make_trainer(config: Run, folder: Path) -> pl.Trainer:
    """Return the one Trainer of a run; checkpoints, sample order and logging are Frostline's own.

    A Trainer of Lightning's closes its loggers at the end of every fit, and a run has one for each phase.
    """
    node = {key: value for key, value in config.trainer.items() if key != "matmul_precision"}  # see `set_numerics`
    node["enable_progress_bar"] = node.get("enable_progress_bar", True) and sys.stderr.isatty()
    if not node["enable_progress_bar"]:
        node["callbacks"] = without_bars(node.get("callbacks"))  # which Lightning would refuse
    return instantiate(
        node,
        "trainer",
        plugins=[environment()],
        sync_batchnorm=False,  # done by `synchronise`
        logger=False,
        max_epochs=config.epochs,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
    )


def without_bars(callbacks: Any) -> list[Any]:
    """Return the nodes of callbacks that are no progress bars."""
    listed = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    return [node for node in listed if not (isinstance(node, Mapping) and node.get("_target_") in BARS)]


def make_cache(
    config: Run,
    backbone: Backbone,
    data: DataModule,
    trainer: pl.Trainer,
    group: Group = ALONE,
    device: torch.device | None = None,
) -> PrefixCache:
    """Return the prefix cache, in the precision that the run trains in, and on its device; ``trainer`` says which."""
    keys, device = config.cache, device or trainer.strategy.root_device
    names = sorted({*group.each(device_name(device))})  # ranks may have several kinds, and need the same key
    return PrefixCache(
        Store(Path(config.outputs) / "cache"),
        backbone,
        data,
        precision=describe_numerics(config.trainer, ", ".join(names)),
        autocast=computing(config.trainer, trainer),
        device=device,
        memory_bytes=keys.memory_gb * 1e9,
        max_bytes=keys.max_gb * 1e9,
        group=group,
    )


def choose(
    config: Run,
    backbone: Backbone,
    data: DataModule,
    plan: Plan,
    cuts: list[Cut],
    index: int,
    cache: PrefixCache,
) -> Choice:
    """Return where a phase is cached, or why it is not; a cut that does not give the network back is refused."""
    if not config.cache.enabled:
        return Choice(None, "cache.enabled is false")
    if data.views is None:
        return Choice(None, "data.views is null: every epoch sees fresh views")
    # a group that trains in part is in train mode as a whole (its dropout is live), so no cut may lie in it
    trainable = {name for group in plan.phases[index].train for name in backbone.groups.get(group, [])}
    sizes = {name: len(split) for name, split in data.splits.items()}
    samples = sizes["train"] * len(views(plan, data, index)) + sizes["val"] + sizes["test"]
    usable = list(cuts)
    while True:
        choice = choose_cut(usable, trainable, samples, cache.max_bytes, cache.device.type)
        if choice.cut is None or check_cut(backbone, choice.cut.name, data.typical):
            return choice
        usable.remove(choice.cut)
