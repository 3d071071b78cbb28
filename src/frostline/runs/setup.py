"""What one sitting of a run works with: the ingredients, what trains them, and what keeps account of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor

from frostline.config.schema import Run, instantiate
from frostline.data.splits import SPLITS
from frostline.errors import UserError, escape_unprintable
from frostline.features.cache import Store
from frostline.features.policy import CachePolicy, decide_policy
from frostline.features.prefix import PrefixCache
from frostline.files.csv_tables import write_csv
from frostline.files.decisions import await_decision
from frostline.freeze.table import plan_table
from frostline.ranks.collectives import ALONE, Ranks, check_alike, check_shared
from frostline.ranks.devices import check_devices, check_precision, read_memory
from frostline.ranks.machine import describe_machine
from frostline.ranks.numerics import describe_numerics, make_autocast, read_device_name, set_numerics
from frostline.results.record import read_versions
from frostline.results.validation import write_validation
from frostline.runs.build import Builder, Ingredients, check
from frostline.runs.costs import Costs
from frostline.runs.sizes import check_sizes
from frostline.runs.trainer import make_trainer
from frostline.tasks.base import Task
from frostline.tasks.judge import Judge
from frostline.training.checkpoint import Checkpoints
from frostline.training.journal import Journal, Listeners
from frostline.training.lightning import disable_signal_handling, join_ranks
from frostline.training.loggers import Loggers, make_loggers
from frostline.training.module import FineTuner
from frostline.training.optim import Optimization
from frostline.training.state import RunState
from frostline.training.weights import Weights


@dataclass
class Experiment:
    """One sitting of a run: what it is about (``made``), and what trains it on this one of ``ranks``."""

    config: Run
    folder: Path
    made: Ingredients
    ranks: Ranks
    trainer: pl.Trainer
    module: FineTuner
    policy: CachePolicy
    cache: PrefixCache
    journal: Journal
    costs: Costs
    loggers: Loggers

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the run uses: a trial leaves the test split alone."""
        return SPLITS if self.config.test else ("train", "val")

    def find_best_epoch(self) -> int:
        """Return the epoch with the best value of ``monitor`` on validation."""
        assert self.journal.progress.best is not None, "no epoch has ended"
        return int(self.journal.progress.best["epoch"])

    def load_best(self) -> None:
        """Restore the weights of the best epoch. Raises OSError when its checkpoint is gone or damaged."""
        state = self.journal.state.checkpoints.load_best()
        if state is None:
            folder = self.journal.state.checkpoints.folder
            raise OSError(f"{folder}: the best checkpoint is damaged; run again with force=true")
        self.journal.state.weights.load(state["weights"])

    def show_plan(self) -> None:
        """Print the notes and the plan's table, on the rank that leads."""
        if not self.ranks.leads:
            return
        made, console = self.made, Console(stderr=True, highlight=False)
        for note in (made.data.summary, *made.data.notes, *made.backbone.notes):
            console.print(escape_unprintable(note), markup=False, soft_wrap=True)
        pretrained = self.config.backbone.get("weights", "pretrained") not in (None, "none")  # as a user may have said
        sizes, trained = made.count_parameters(), [made.count_trained(place) for place in range(len(made.plan.phases))]
        console.print(plan_table(made.plan, sizes, trained, self.policy.describe_phases(), pretrained))


def set_up(config: Run, folder: Path, builder: Builder, since: float) -> Experiment:
    """Make all that a run needs; nothing is trained and no sample decoded yet. Raises UserError for a wrong config.

    The run is charged from ``since`` on, a `time.monotonic`.
    """
    check(config)
    check_devices(config.trainer)
    set_numerics(config.trainer)
    trainer: Any = make_trainer(config, folder)
    device = trainer.strategy.root_device
    check_precision(config.trainer["precision"], device.type)
    disable_signal_handling(trainer)
    ranks = join_ranks(trainer, config)
    check_alike(ranks, read_versions())
    check_shared(ranks, Path(config.outputs))
    made = builder.build(config)
    made.data.prepare_only(SPLITS if config.test else ("train", "val"))
    if config.trainer.get("sync_batchnorm") and ranks.world > 1:
        synchronise(made, device)
    cache = make_cache(config, made, trainer, ranks)
    machine = describe_machine(device, config.trainer, ranks)
    costs = Costs(made.plan, made.samples, cache, ranks, machine, since)
    loggers = make_loggers(config, folder) if ranks.leads else Loggers({}, folder, {}, 0.0)
    weights = Weights(made.backbone, made.head, made.plan)
    state = RunState(trainer, weights, Checkpoints(folder / "checkpoints"), costs)
    monitor = made.task.declaration.metric(config.metric)
    listeners = make_listeners(config, folder, loggers, made.task)
    journal = Journal(state, made.plan, monitor, listeners, config.seed, ranks, config.stop_after)
    trainer.callbacks.append(journal)
    module = make_module(config, made, weights, ranks)
    policy = make_policy(config, made, cache.device)
    check_sizes(made, policy, ranks.take_first(read_memory()))
    return Experiment(config, folder, made, ranks, trainer, module, policy, cache, journal, costs, loggers)


def synchronise(made: Ingredients, device: torch.device) -> None:
    """Let BatchNorm normalise over all ranks. Raises UserError on processors, where torch has no such thing."""
    if device.type != "cuda":
        raise UserError("trainer.sync_batchnorm: torch synchronises BatchNorm on GPUs alone; leave it false here.")
    made.backbone.synchronise()


def make_module(config: Run, made: Ingredients, weights: Weights, ranks: Ranks) -> FineTuner:
    """Return the LightningModule with its objectives, optimizer and schedule."""
    optimization = Optimization(
        lambda groups: instantiate(config.optimizer, "optimizer", params=groups),
        config.optimizer["lr"],
        instantiate(config.schedule, "schedule"),
    )
    return FineTuner(made.backbone, made.head, made.task, made.objectives, optimization, weights.parameters, ranks)


def make_listeners(config: Run, folder: Path, loggers: Loggers, task: Task) -> Listeners:
    """Return who hears of each epoch: metrics.csv, the loggers, and who judges the run where somebody does."""

    def publish(rows: Sequence[Mapping[str, Any]]) -> None:
        write_csv(folder / "metrics.csv", rows)
        loggers.log_row(rows[-1])

    def keep(found: Mapping[str, Tensor]) -> None:
        judge = Judge(task, config.metric, found["label"])
        write_validation(folder, {**found, "parts": judge.judge(found["outputs"]).parts}, judge.is_mean)

    if not config.judged:
        return Listeners(publish)
    return Listeners(publish, partial(await_decision, folder), keep)


def make_cache(
    config: Run,
    made: Ingredients,
    trainer: pl.Trainer,
    ranks: Ranks = ALONE,
    device: torch.device | None = None,
    stored: bool = True,
) -> PrefixCache:
    """Return the prefix cache, in the precision that the run trains in, and on its device; ``trainer`` says which.

    One that is not ``stored`` keeps what it computes in memory.
    """
    device = device or trainer.strategy.root_device
    # ranks may have several kinds, and need the same key
    names = sorted({*ranks.gather_values(read_device_name(device))})
    return PrefixCache(
        Store(Path(config.outputs) / "cache") if stored else None,
        made.backbone,
        made.data,
        precision=describe_numerics(config.trainer, ", ".join(names)),
        autocast=make_autocast(config.trainer, trainer),
        device=device,
        memory_bytes=config.cache.memory_gb * 1e9,
        max_bytes=config.cache.max_gb * 1e9,
        ranks=ranks,
    )


def make_policy(config: Run, made: Ingredients, device: torch.device) -> CachePolicy:
    """Return what is cached of each phase of a run that trains on ``device``."""
    cache = config.cache
    most = cache.max_gb * 1e9
    return decide_policy(made.plan, made.backbone, made.data, cache.enabled, most, device.type, made.taps)
