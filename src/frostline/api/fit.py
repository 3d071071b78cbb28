"""One's own LightningModule, trained by a plan: each phase is one fit of one's own Trainer."""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from frostline.config.schema import find_conf_dir
from frostline.errors import UserError, make_choice_error
from frostline.freeze import strategies
from frostline.freeze.plan import Plan
from frostline.training.lightning import set_counters, set_end
from frostline.training.own.groups import Groups, Patterns
from frostline.training.own.keeper import Keeper

log = logging.getLogger(__name__)
UNFIT = {
    "BaseFinetuning": "it freezes by a rule of its own",
    "StochasticWeightAveraging": "it counts the epochs of one fit, and a plan has one for each phase",
    "WeightAveraging": "it moves what is frozen",
    "LearningRateFinder": "it gives every group one rate",
    "OnExceptionCheckpoint": "it would be loaded again in each phase",
}
"""Lightning's callbacks that do not go together with a plan, and why."""


@dataclass(frozen=True)
class FittedPhase:
    """How a phase went: the epochs and seconds it took, and how many parameters it trained."""

    name: str
    epochs: int
    seconds: float
    parameters: int


@dataclass(frozen=True)
class Fitted:
    """What came of a fit: its plan, its phases, and the Trainer's ``callback_metrics`` at the end."""

    plan: Plan
    phases: tuple[FittedPhase, ...]
    metrics: Mapping[str, float]


def fit(
    trainer: Any,
    module: Any,
    datamodule: Any,
    plan: Plan | str,
    *,
    head: Patterns,
    groups: Mapping[str, Patterns] | None = None,
    resume: str | Path | None = None,
    val_dataloaders: Any = None,
    **options: Any,
) -> Fitted:
    """Train a LightningModule by a plan, each phase by one ``trainer.fit``, and return how it went.

    ``datamodule`` and ``val_dataloaders`` are what ``Trainer.fit`` takes: a LightningDataModule, or loaders. ``plan``
    is a Plan, or the name of a strategy with its ``options``, over the epochs of the Trainer. ``head`` names the new
    layers, by paths of modules or parameters; ``groups`` names the others, from the lowest to the highest. Without it
    they are made of the module's children. ``resume`` is a checkpoint that the Trainer's ModelCheckpoint wrote at the
    end of an epoch, or ``last`` for the newest that it keeps as its last, if there is one.

    What is frozen requires no gradient, is in eval mode, is in no optimizer, and ends as it was to the bit. The rates
    that ``configure_optimizers`` gives are multiplied by those of the plan. It is called anew in each phase, and then
    ``trainer.max_epochs`` is the phase's length. An EarlyStopping that is out of patience ends a phase; whatever else
    stops the Trainer ends the fit. A parameter that requires no gradient to begin with never trains.

    Raises UserError for what cannot be trained so, and RuntimeError where the module itself changes what is frozen, or
    the ranks end a phase with different weights.
    """
    check_trainer(trainer, module)
    own = Groups(module, head, groups)
    chosen = read_plan(plan, own, trainer.max_epochs, options)
    keeper = Keeper(own, chosen)
    path = find_checkpoint(trainer, resume)
    first = 0 if path is None else read_phase(path, keeper)
    with attach_keeper(keeper, trainer, module):
        for index in range(first, len(chosen.phases)):
            keeper.enter(module, index)
            log_phase(keeper)
            set_end(trainer, keeper.end)
            trainer.fit(
                module, datamodule, val_dataloaders, ckpt_path=path, weights_only=None if path is None else True
            )
            path = None
            if keeper.leave(trainer) and not is_out_of_patience(trainer):
                break
            set_counters(trainer, keeper.end, trainer.global_step, keeper.end)
            renew_patience(trainer)
    phases = tuple(FittedPhase(**phase) for phase in keeper.phases)
    return Fitted(chosen, phases, {name: float(value) for name, value in trainer.callback_metrics.items()})


def make_plan(
    strategy: str,
    module: Any,
    epochs: int,
    *,
    head: Patterns,
    groups: Mapping[str, Patterns] | None = None,
    **options: Any,
) -> Plan:
    """Return the plan of a strategy for a module, to be looked at or changed; ``fit`` describes the arguments.

    Raises UserError for an unknown strategy, and for options that it does not take.
    """
    return plan_strategy(strategy, Groups(module, head, groups), epochs, options)


def read_plan(plan: Plan | str, groups: Groups, epochs: int | None, options: Mapping[str, Any]) -> Plan:
    """Return the plan that is asked for, over the Trainer's ``epochs``. Raises UserError for one that does not fit."""
    if isinstance(plan, str):
        if epochs is None or epochs < 1:
            raise UserError(f"trainer.max_epochs: {epochs} is invalid: expected the number of epochs that {plan} has.")
        return plan_strategy(plan, groups, epochs, options)
    if not isinstance(plan, Plan):
        raise UserError(f"plan: {plan!r} is invalid: expected a Plan, or the name of a strategy.")
    if options:
        raise UserError(f"{', '.join(options)}: expected with the name of a strategy alone, and plan is a Plan.")
    if plan.groups != groups.names:
        raise UserError(
            f"plan: it is for the groups {', '.join(plan.groups)}; the module has {', '.join(groups.names)}."
        )
    if epochs not in (None, plan.epochs):
        raise UserError(
            f"trainer.max_epochs: {epochs} is invalid: expected {plan.epochs}, which the plan has, or None."
        )
    check_plan(plan, groups)
    return plan


def plan_strategy(name: str, groups: Groups, epochs: int, options: Mapping[str, Any]) -> Plan:
    """Return the plan of a strategy; what ``options`` do not say is as in its YAML. Raises UserError."""
    known = sorted(path.stem for path in (find_conf_dir() / "freeze").glob("*.yaml"))
    if name not in known:
        raise make_choice_error("plan", name, known)
    node = yaml.safe_load((find_conf_dir() / "freeze" / f"{name}.yaml").read_text())
    make = getattr(strategies, node.pop("_target_").rpartition(".")[2])
    unknown = [option for option in options if option not in node]
    if unknown:
        raise make_choice_error(f"an option of {name}", unknown[0], node or ["none"])
    try:
        plan = make(groups.names, epochs, **{**node, **options})
        check_plan(plan, groups)
    except UserError as error:
        raise UserError(name_arguments(str(error))) from error
    return plan


def name_arguments(message: str) -> str:
    """Return a strategy's message with the arguments of ``fit`` in place of a config's keys: ``k`` for ``freeze.k``.

    No adapter can be chosen there.
    """
    message = message.replace("choose one as adapter=NAME, or", "choose")
    return re.sub(r"\bfreeze(?=[=:])", "plan", re.sub(r"\bfreeze\.(?=\w)", "", message))


def check_plan(plan: Plan, groups: Groups) -> None:
    """Raise UserError for a plan that asks for what a module of one's own does not have."""
    if plan.changes:
        raise UserError(
            "plan: it changes the network first, and this one is yours; change it yourself, and choose another plan."
        )
    if any(phase.objective != "task" for phase in plan.phases):
        raise UserError("plan: a LightningModule has an objective of its own, so a phase cannot have another.")
    for phase in plan.phases:
        groups.find_rate_scales(phase)


def check_trainer(trainer: Any, module: Any) -> None:
    """Raise UserError for a Trainer or a module that no plan can be followed with."""
    if "LightningModule" not in list_classes(module):
        raise UserError(
            f"module: {type(module).__name__} is invalid: expected a LightningModule, not compiled as a whole."
        )
    if "Trainer" not in list_classes(trainer):
        raise UserError(f"trainer: {type(trainer).__name__} is invalid: expected a Trainer of Lightning.")
    if trainer.current_epoch or trainer.global_step:
        raise UserError(f"trainer: it has trained {trainer.current_epoch} epochs already; give a new one.")
    if trainer.max_steps != -1:
        raise UserError("trainer.max_steps: a plan counts epochs; use max_epochs, and limit_train_batches for a trial.")
    strategy = trainer.strategy
    if not {"SingleDeviceStrategy", "DDPStrategy"} & list_classes(strategy):
        raise UserError(f"trainer.strategy: {type(strategy).__name__} is invalid: expected one device, or ddp.")
    if "_MultiProcessingLauncher" in list_classes(strategy.launcher):
        raise UserError("trainer.strategy: its processes live for one fit, and a plan has several; use ddp.")
    left = list(Path(trainer.default_root_dir).glob("hpc_ckpt_*.ckpt"))
    if left:
        raise UserError(
            f"trainer: Lightning would go back to {left[0]} in each phase; delete it, and on SLURM use "
            "SLURMEnvironment(auto_requeue=False) and resume='last'."
        )
    for callback in trainer.callbacks:
        for name in list_classes(callback) & UNFIT.keys():
            raise UserError(f"trainer.callbacks: {type(callback).__name__} is invalid with a plan: {UNFIT[name]}.")


def list_classes(value: Any) -> set[str]:
    """Return the names of the classes of a value: the same in the packages pytorch_lightning and lightning."""
    return {ancestor.__name__ for ancestor in type(value).__mro__}


def find_checkpoint(trainer: Any, resume: str | Path | None) -> Path | None:
    """Return the file to go on from: for ``last`` the newest, None where there is none yet. Raises UserError."""
    if resume is None:
        return None
    if resume != "last":
        if not Path(resume).is_file():
            raise UserError(f"resume: there is no file {resume}.")
        return Path(resume)
    keepers = [one for one in trainer.checkpoint_callbacks if getattr(one, "save_last", None) and one.dirpath]
    if not keepers:
        raise UserError(
            "resume: 'last' needs ModelCheckpoint(dirpath=FOLDER, save_last=True) among the Trainer's callbacks."
        )
    found = [
        path
        for one in keepers
        for path in Path(one.dirpath).glob(f"*{one.FILE_EXTENSION}")
        if re.match(rf"{one.CHECKPOINT_NAME_LAST}(-v\d+)?$", path.stem)
    ]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def read_phase(path: Path, keeper: Keeper) -> int:
    """Return the index of the phase that a checkpoint was written in.

    Raises UserError where it was written by no fit of the same plan, or not at the end of an epoch.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        kept = state["callbacks"][keeper.state_key]
        counted = state["loops"]["fit_loop"]["epoch_progress"]["current"]
    except Exception as error:  # whatever a damaged or foreign file makes of it
        raise UserError(f"resume: {path} is no checkpoint of fit ({type(error).__name__}: {error}).") from error
    if kept["identity"] != keeper.identity:
        raise UserError(f"resume: {path} is of another plan or of other groups; resume with those it was begun with.")
    if counted["ready"] != counted["processed"]:
        raise UserError(
            f"resume: {path} was written inside epoch {counted['processed']}, whose other samples would be lost; take "
            "one of an epoch's end, as ModelCheckpoint(save_on_train_epoch_end=True) writes."
        )
    keeper.load_state_dict(kept)
    return keeper.plan.at(counted["processed"] - 1)[0]


@contextmanager
def attach_keeper(keeper: Keeper, trainer: Any, module: Any) -> Iterator[None]:
    """Let the keeper be the Trainer's first callback for a while; give the module its modes back at the end."""
    trainer.callbacks.insert(0, keeper)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found .* module.s. in eval mode at the start of training")
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # of the phase before
        try:
            yield
        finally:
            trainer.callbacks.remove(keeper)
            keeper.release(module)


def is_out_of_patience(trainer: Any) -> bool:
    """Return whether the Trainer was stopped by an EarlyStopping whose patience has run out."""
    return any(one.wait_count >= one.patience for one in trainer.callbacks if "EarlyStopping" in list_classes(one))


def renew_patience(trainer: Any) -> None:
    """Give each EarlyStopping its patience back, as the next phase trains something else."""
    for callback in trainer.callbacks:
        if "EarlyStopping" in list_classes(callback):
            callback.load_state_dict({**callback.state_dict(), "wait_count": 0})


def log_phase(keeper: Keeper) -> None:
    """Say which phase begins, and what it trains."""
    phase, start = keeper.plan.phases[keeper.index], keeper.plan.start(keeper.index)
    trained = ", ".join(f"{name} x{how.lr:.3g}" for name, how in phase.train.items())
    log.info("Phase %s, epochs %d to %d, trains %s.", phase.name, start, keeper.end - 1, trained)
