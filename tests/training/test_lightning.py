"""Where Frostline reaches into Lightning: it still does there what it is said to do."""

import signal
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from frostline.config.compose import compose, resolve
from frostline.ranks.collectives import ALONE
from frostline.training.lightning import disable_signal_handling, draw_order_again, join_ranks, set_counters, set_end


class Watching(pl.LightningModule):
    """Learns next to nothing; notes its epochs, its steps, the order of its samples and who handles SIGTERM."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[tuple[int, int]] = []
        self.order: list[list[float]] = []
        self.handlers: list[Any] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append((self.trainer.current_epoch, self.trainer.global_step))
        self.order.append(batch.flatten().tolist())
        self.handlers.append(signal.getsignal(signal.SIGTERM))
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def make_trainer(epochs: int = 2, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    chosen = {"enable_checkpointing": False, **quiet, **options}
    return pl.Trainer(max_epochs=epochs, callbacks=list(callbacks), **chosen)


def loader(shuffle: bool = False) -> DataLoader:
    return DataLoader(torch.arange(6.0)[:, None], batch_size=3, shuffle=shuffle)  # type: ignore[arg-type]


def test_a_signal_is_left_to_whoever_handled_it() -> None:
    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        trainer, module = make_trainer(1), Watching()
        disable_signal_handling(trainer)
        trainer.fit(module, loader())
        assert set(module.handlers) == {own}
        untouched = Watching()
        make_trainer(1).fit(untouched, loader())
        assert own not in untouched.handlers, "else nothing would have to be disabled any more"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_fit_goes_on_from_the_counters_that_it_is_given() -> None:
    trainer, module = make_trainer(9), Watching()
    set_counters(trainer, epoch=3, step=17, end=5)
    trainer.fit(module, loader())
    assert module.seen == [(3, 17), (3, 18), (4, 19), (4, 20)]
    set_counters(trainer, epoch=5, step=21, end=6)
    trainer.fit(module, loader())
    assert module.seen[4:] == [(5, 21), (5, 22)]


class Ending(pl.Callback):
    """Moves the end of a fit that has begun."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        set_end(trainer, 3)


def test_a_fit_ends_where_it_is_told_to() -> None:
    trainer, module = make_trainer(1, Ending()), Watching()
    trainer.fit(module, loader())
    assert trainer.max_epochs == 3 and [epoch for epoch, _ in module.seen] == [0, 0, 1, 1, 2, 2]


class Seeding(pl.Callback):
    """Seeds each epoch as it begins, and has the order of a resumed one drawn after that, unless it is told not to."""

    def __init__(self, again: bool = True) -> None:
        self.again = again

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(trainer.current_epoch)
        if self.again:
            draw_order_again(trainer)


@pytest.mark.parametrize("again", [True, False])
def test_a_resumed_fit_has_the_order_of_one_that_was_not_stopped(tmp_path: Any, again: bool) -> None:
    """Without the function it has not: when that is no longer so, the function can go."""
    whole, first, rest = Watching(), Watching(), Watching()
    make_trainer(3, Seeding()).fit(whole, loader(shuffle=True))
    begun = make_trainer(2, Seeding())
    begun.fit(first, loader(shuffle=True))
    begun.save_checkpoint(tmp_path / "last.ckpt")
    torch.manual_seed(99)
    make_trainer(3, Seeding(again)).fit(rest, loader(shuffle=True), ckpt_path=tmp_path / "last.ckpt")
    assert (first.order + rest.order == whole.order) is again


def test_a_rank_alone_joins_nobody_and_broadcasts_by_lightning() -> None:
    trainer = make_trainer()
    assert join_ranks(trainer, resolve(compose("run", ["trainer.accelerator=cpu"]))) is ALONE
    assert trainer.strategy.broadcast({"any": "thing"}) == {"any": "thing"}
