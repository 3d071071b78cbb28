"""A fit that was broken off goes on to the same bits, from what Lightning's own ModelCheckpoint keeps."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from tests.api.fitting import Break, equal, run
from tests.lightning_modules import Data, Net, make_net, make_trainer
from torch.optim import lr_scheduler

from frostline.api.fit import fit
from frostline.errors import UserError


@pytest.mark.parametrize("step", [5, 8, 9, 14, 17])
def test_a_broken_run_goes_on_to_the_same_bits(step: int, tmp_path: Path) -> None:
    """Broken inside the second phase, just as a phase begins, and inside a long one: order, dropout and noise too."""
    whole, done = run(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="broken"):
        run(tmp_path / "parts", Break(step))
    net, again = run(tmp_path / "parts", net=make_net(seed=9))
    assert equal(whole, net) and not equal(whole, make_net())
    assert [replace(phase, seconds=0) for phase in again.phases] == [replace(phase, seconds=0) for phase in done.phases]
    assert again.metrics == done.metrics


def adam_with(make: Any) -> Any:
    """Return what configures AdamW with a schedule."""

    def configure(net: Net) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        return {"optimizer": optimizer, "lr_scheduler": make(optimizer, net)}

    return configure


def plateau(optimizer: Any, net: Net) -> dict[str, Any]:
    """A schedule that halves the rate after every epoch but the first: nothing improves by so much."""
    return {
        "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=1.0),
        "monitor": "val_loss",
    }


def cosine(optimizer: Any, net: Net) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, net.trainer.max_epochs or 0)


def one_cycle(optimizer: Any, net: Net) -> dict[str, Any]:
    steps = int(net.trainer.estimated_stepping_batches)
    return {"scheduler": lr_scheduler.OneCycleLR(optimizer, 0.01, steps), "interval": "step"}


@pytest.mark.parametrize("schedule", [plateau, cosine, one_cycle])
def test_schedules_go_on_to_the_same_bits(schedule: Any, tmp_path: Path) -> None:
    settings = {"plan": "lp_ft", "probe": 0.5, "scale": 0.25}
    whole, _ = run(tmp_path / "whole", net=make_net(adam_with(schedule)), **settings)
    with pytest.raises(RuntimeError, match="broken"):
        run(tmp_path / "parts", Break(18), net=make_net(adam_with(schedule)), **settings)
    net, _ = run(tmp_path / "parts", net=make_net(adam_with(schedule)), **settings)
    assert equal(whole, net)
    assert net.rates == whole.rates[-len(net.rates) :]


def test_loading_processes_make_the_same_epochs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"head": "classifier", "resume": "last"}
    whole, net = make_net(), make_net()
    fit(make_trainer(tmp_path / "whole", 3), whole, Data(workers=1), "linear_probe", **settings)
    with pytest.raises(RuntimeError, match="broken"):
        fit(make_trainer(tmp_path / "parts", 3, Break(9)), make_net(), Data(workers=1), "linear_probe", **settings)
    fit(make_trainer(tmp_path / "parts", 3), net, Data(workers=1), "linear_probe", **settings)
    assert equal(whole, net)


def test_early_stopping_ends_a_phase_and_whatever_else_stops_ends_the_fit(tmp_path: Path) -> None:
    impatient = functools.partial(EarlyStopping, "val_loss", min_delta=100.0, patience=2)
    whole, done = run(tmp_path / "whole", impatient(), plan="lp_ft", probe=0.5, epochs=12)
    assert [phase.epochs for phase in done.phases] == [3, 2]  # the first value alone is an improvement on nothing
    assert sorted(path.stem for path in (tmp_path / "whole").glob("epoch*")) == [f"epoch={n}" for n in (0, 1, 2, 6, 7)]
    with pytest.raises(RuntimeError, match="broken"):
        run(tmp_path / "parts", impatient(), Break(12), plan="lp_ft", probe=0.5, epochs=12)
    net, again = run(tmp_path / "parts", impatient(), plan="lp_ft", probe=0.5, epochs=12)
    assert equal(whole, net) and [phase.epochs for phase in again.phases] == [3, 2]
    _, done = run(tmp_path / "goal", EarlyStopping("val_loss", stopping_threshold=100.0), plan="lp_ft", epochs=12)
    assert [phase.epochs for phase in done.phases] == [1]


def test_a_checkpoint_inside_an_epoch_is_refused(tmp_path: Path) -> None:
    """What Lightning itself goes on from, at the wrong sample."""
    keeps = ModelCheckpoint(dirpath=tmp_path / "steps", every_n_train_steps=3, save_top_k=-1, filename="{step}")
    with pytest.raises(RuntimeError, match="broken"):
        run(tmp_path, keeps, Break(8))
    with pytest.raises(UserError, match="step=6.ckpt was written inside epoch 1, .*save_on_train_epoch_end=True"):
        run(tmp_path, resume=tmp_path / "steps" / "step=6.ckpt")


def test_what_to_go_on_from_must_be_a_checkpoint_of_the_same_plan(tmp_path: Path) -> None:
    run(tmp_path, epochs=2)
    with pytest.raises(UserError, match="resume: there is no file nowhere.ckpt"):
        run(tmp_path, resume="nowhere.ckpt")
    for other in ({"plan": "full"}, {"head": "classifier.1"}, {"epochs": 3}):
        with pytest.raises(UserError, match="last.ckpt is of another plan or of other groups"):
            run(tmp_path, **{"epochs": 2, **other})
    plain = make_trainer(tmp_path / "plain", 1)
    plain.fit(make_net(), Data())
    with pytest.raises(UserError, match="last.ckpt is no checkpoint of fit"):
        run(tmp_path / "plain")
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:1000])
    with pytest.raises(UserError, match="last.ckpt is no checkpoint of fit"):
        run(tmp_path, epochs=2)
    with pytest.raises(UserError, match="save_last=True"):
        fit(pl.Trainer(max_epochs=1, logger=False), make_net(), Data(), "full", head="classifier", resume="last")


def test_a_fit_that_is_over_is_not_done_again(tmp_path: Path) -> None:
    whole, done = run(tmp_path, epochs=3)
    net, again = run(tmp_path, epochs=3, net=make_net(seed=9))
    assert equal(whole, net) and not net.rates
    assert again.phases == done.phases
