"""Every argument of Lightning's Trainer: whether a plan honours it, and what to say instead where it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

from frostline.config.signature import check_value
from frostline.errors import UserError
from frostline.ranges import Count, Range


class Honoured(TypedDict, total=False):
    """The arguments of the Trainer that a plan honours; of what is made in them, the allow-list says more.

    ``matmul_precision`` is ours, not Lightning's (`frostline.ranks.numerics`). A profiler that follows one fit, as
    PyTorch's does, would fail at the second phase.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    strategy: Literal["auto", "ddp"] | Mapping
    devices: Annotated[int, Range(ge=1, le=10_000), "(which GPUs they are, CUDA_VISIBLE_DEVICES says)"]
    num_nodes: Annotated[int, Range(ge=1, le=10_000)]
    precision: str
    callbacks: list | Mapping | None
    enable_progress_bar: bool | None
    accumulate_grad_batches: Count
    gradient_clip_val: Annotated[float, Range(ge=0)] | None
    gradient_clip_algorithm: Literal["norm", "value"] | None
    deterministic: bool | Literal["warn"] | None
    benchmark: bool | None
    inference_mode: bool
    profiler: Literal["simple", "advanced"] | None
    detect_anomaly: bool
    sync_batchnorm: bool
    matmul_precision: Literal["highest", "high", "medium"]


HONOURED = get_type_hints(Honoured, include_extras=True)


@dataclass(frozen=True)
class Refused:
    """An argument that would cut epochs short, skip what a run is judged by, or do nothing.

    ``neutral`` are the values that change nothing; ``instead`` says what to use.
    """

    instead: str
    neutral: tuple[Any, ...] = (None,)


_LENGTH = "a run is as long as its plan; use epochs=N"
_LESS = "a run sees whole splits; use data.fraction or data.num_per_class for less data"
_LOGGED = "use logger=NAME; a row is logged after every epoch"
REFUSED = {
    "logger": Refused("use logger=NAME", (None, False)),
    "fast_dev_run": Refused("for a quick look use epochs=1 data.num_per_class=5", (False, 0)),
    "max_epochs": Refused(_LENGTH),
    "min_epochs": Refused(_LENGTH, (None, 0)),
    "max_steps": Refused(_LENGTH, (-1,)),
    "min_steps": Refused(_LENGTH, (None, 0)),
    "max_time": Refused("use launcher.timeout_s, after which the same command goes on from the last checkpoint"),
    "limit_train_batches": Refused(_LESS, (None, 1.0)),
    "limit_val_batches": Refused("every epoch is judged on the whole validation split", (None, 1.0)),
    "limit_test_batches": Refused("the test split is tested whole, or with test=false not at all", (None, 1.0)),
    "limit_predict_batches": Refused("frostline predict takes just the files that it is given", (None, 1.0)),
    "overfit_batches": Refused("for a few samples use data.num_per_class=N", (0, 0.0)),
    "val_check_interval": Refused("every epoch ends with validation, and none is in its middle", (None, 1.0)),
    "check_val_every_n_epoch": Refused("every epoch ends with validation, by which the best one is chosen", (1,)),
    "num_sanity_val_steps": Refused("data are checked before training anyway", (None, 0)),
    "log_every_n_steps": Refused(_LOGGED),
    "enable_checkpointing": Refused("checkpoints are Frostline's own, one after every epoch", (None, False)),
    "enable_model_summary": Refused("the plan's table says what trains", (None, False)),
    "use_distributed_sampler": Refused("the order of samples is Frostline's own on any number of devices", (False,)),
    "barebones": Refused("what it turns off is off, but for enable_progress_bar", (False,)),
    "plugins": Refused("precision is trainer.precision, and ranks are started by launcher"),
    "reload_dataloaders_every_n_epochs": Refused("for fresh views each epoch use data.views=null", (0,)),
    "default_root_dir": Refused("use outputs=FOLDER"),
    "enable_autolog_hparams": Refused(_LOGGED, (True, False)),
    "model_registry": Refused("nothing is uploaded; use frostline export"),
}
STOPS = "an epoch is not cut short; use epochs=N, launcher.timeout_s or the callback EarlyStopping"
FREEZES = "what trains is the plan's to say; use freeze=NAME"
AVERAGES = "what is checkpointed and tested are the weights that were trained, not averages"
KEEPS = "checkpoints are Frostline's own, and the best one is kept"
LOGS = "it needs a logger of Lightning's; rates and times are in metrics.csv, and use logger=NAME"
CHANGES = "it would change what the config says; use compare or tune"
SHOWS = "use trainer.enable_progress_bar"
CALLBACKS = {
    "BackboneFinetuning": FREEZES,
    "BaseFinetuning": FREEZES,
    "BasePredictionWriter": "use frostline predict",
    "BatchSizeFinder": CHANGES,
    "Checkpoint": KEEPS,
    "DeviceStatsMonitor": LOGS,
    "EMAWeightAveraging": AVERAGES,
    "LambdaCallback": "it takes functions, which no config holds",
    "LearningRateFinder": CHANGES,
    "LearningRateMonitor": LOGS,
    "ModelCheckpoint": KEEPS,
    "ModelPruning": FREEZES,
    "ModelSummary": "the plan's table says what trains",
    "OnExceptionCheckpoint": KEEPS,
    "ProgressBar": SHOWS,
    "RichModelSummary": "the plan's table says what trains",
    "SpikeDetection": "a loss that is no number ends a run as diverged",
    "StochasticWeightAveraging": AVERAGES,
    "ThroughputMonitor": LOGS,
    "Timer": STOPS,
    "WeightAveraging": AVERAGES,
    "XLAStatsMonitor": LOGS,
}
"""Lightning's own callbacks that a plan refuses."""


def check_switches(trainer: Mapping[str, Any]) -> None:
    """Refuse arguments of the Trainer that a plan cannot honour, before anything runs. Raises UserError by name."""
    for name, value in trainer.items():
        switch = REFUSED.get(name)
        if switch is not None and not any(_is_alike(value, one) for one in switch.neutral):
            raise UserError(f"trainer.{name}: {value!r} cannot be honoured: {switch.instead}.")
        if name in HONOURED:
            check_value(value, HONOURED[name], f"trainer.{name}")
    if trainer.get("benchmark") and trainer.get("deterministic"):
        raise UserError("trainer.benchmark: it measures which algorithm to take, so not with trainer.deterministic.")
    given = trainer.get("callbacks") or ()
    for node in given if isinstance(given, list) else (given,):
        module, _, name = str(node.get("_target_") if isinstance(node, Mapping) else "").rpartition(".")
        if module == "pytorch_lightning.callbacks" and name in CALLBACKS:
            raise UserError(f"trainer.callbacks: {name} cannot be honoured: {CALLBACKS[name]}.")
    strategy = trainer.get("strategy")
    if isinstance(strategy, Mapping) and strategy.get("start_method") is not None:
        raise UserError("trainer.strategy.start_method: ranks are started by the launcher; leave it out.")


def _is_alike(value: Any, neutral: Any) -> bool:
    """Compare as Lightning does: 1 is one batch where 1.0 is all of them."""
    return type(value) is type(neutral) and value == neutral
