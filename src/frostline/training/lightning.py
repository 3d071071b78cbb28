"""Where Frostline reaches into what Lightning keeps to itself, each with its reason; tried with version 2.6.6."""

from typing import Any

import pytorch_lightning as pl

from frostline.config.schema import Run
from frostline.ranks.collectives import Ranks, form_ranks


def disable_signal_handling(trainer: pl.Trainer) -> None:
    """Keep Lightning from handling SIGTERM: in the signal's handler, on the rank that got it, it waits for the others.

    Its broadcast before each step of whether the first rank was asked to stop goes as well: that waits for the
    accelerator, and ``frostline.training.pause.find_reason`` is in its place. Neither can be turned off.
    """
    inside: Any = trainer
    inside._signal_connector.register_signal_handlers = lambda: None
    inside.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def set_end(trainer: Any, end: int) -> None:
    """Let a trainer's fit end before the epoch ``end``; the trainer is one of pytorch_lightning or of lightning.

    ``Trainer.max_epochs`` only says it, and each phase of a plan has an end of its own.
    """
    trainer.fit_loop.max_epochs = end


def draw_order_again(trainer: Any) -> None:
    """Let the order of a resumed fit's first epoch be drawn again: Lightning draws it before anything can be seeded."""
    if trainer.fit_loop.is_resuming:
        iter(trainer.fit_loop._data_fetcher)


def set_counters(trainer: pl.Trainer, epoch: int, step: int, end: int) -> None:
    """Let a trainer's next fit count epochs and steps from where the run stands, and end before the epoch ``end``.

    A checkpoint of Lightning's would set them, and ``fit`` would unpickle it.
    """
    loop: Any = trainer.fit_loop
    set_end(trainer, end)
    count = loop.epoch_progress.current
    count.ready = count.started = count.processed = count.completed = epoch
    optimizer = loop.epoch_loop.automatic_optimization.optim_progress.optimizer
    optimizer.step.total.ready = optimizer.step.total.completed = step


def join_ranks(trainer: pl.Trainer, config: Run) -> Ranks:
    """Join the ranks of a run, and let Lightning broadcast by its group. Raises UserError as ``form_ranks`` does.

    A strategy's own ``broadcast`` unpickles whatever comes over the network; how long its collectives wait is an
    argument that it does not give back.
    """
    strategy: Any = trainer.strategy
    group = form_ranks(trainer, config, getattr(strategy, "_timeout", None))  # of DDP and what is made of it
    if group.world > 1:
        strategy.broadcast = group.broadcast
    return group
