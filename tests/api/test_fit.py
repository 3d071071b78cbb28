"""One's own LightningModule, trained by a plan: what is frozen is frozen, and what trains has the plan's rates."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning, LearningRateMonitor, StochasticWeightAveraging
from pytorch_lightning.loggers import CSVLogger
from tests.api.fitting import run
from tests.lightning_modules import Data, Net, copy_tensors, make_net, make_trainer
from torch import nn
from torch.optim import lr_scheduler

from frostline.api.fit import Fitted, fit, make_plan
from frostline.errors import UserError
from frostline.freeze.plan import HEAD, Phase, Plan, Train

GROUPS = ("stem", "block1", "block2")


class Watch(pl.Callback):
    """Copies all tensors as each fit begins and ends, with the names of what trains."""

    def __init__(self) -> None:
        self.pairs: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.before = copy_tensors(pl_module)
        self.trains = {name for name, parameter in pl_module.named_parameters() if parameter.requires_grad}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.pairs.append((self.before, copy_tensors(pl_module), self.trains))


def test_what_is_frozen_ends_as_it_was_to_the_bit(tmp_path: Path) -> None:
    watch = Watch()
    net, _ = run(tmp_path, watch)
    assert len(watch.pairs) == 4
    blocks = [0, 1, 2]
    for index, (before, after, trains) in enumerate(watch.pairs):
        frozen = tuple(f"blocks.{block}." for block in blocks[: 3 - index])
        for name, value in before.items():  # buffers too: the running statistics and the count of batches
            assert torch.equal(value, after[name]) == name.startswith(frozen), name
        assert trains == {name for name, _ in net.named_parameters() if not name.startswith(frozen)}


def test_frozen_modules_are_in_eval_mode_in_every_step_and_the_others_are_not(tmp_path: Path) -> None:
    net, _ = run(tmp_path, epochs=4)
    assert len(net.modes) == 16
    for step, modes in enumerate(net.modes):
        for path, _module in net.named_modules():
            place = int(path.split(".")[1]) if path.startswith("blocks.") else 3
            whole = path != "blocks" or step >= 4  # the container trains from the second phase on
            assert (path in modes) == (whole and place >= 3 - step // 4), (step, path)


def test_a_module_that_turns_everything_to_training_stays_frozen(tmp_path: Path) -> None:
    class Careless(Net):
        def on_train_epoch_start(self) -> None:
            self.train()

    torch.manual_seed(0)
    net, _ = run(tmp_path, epochs=2, net=Careless(), plan="linear_probe")
    assert not any(path.startswith("blocks") for modes in net.modes for path in modes)


def test_the_optimizer_holds_what_trains_at_the_rates_of_the_plan(tmp_path: Path) -> None:
    net, done = run(tmp_path, epochs=4, factor=2.0)
    for step, rates in enumerate(net.rates):
        phase = done.plan.phases[step // 4]
        place = {"stem": "blocks.0", "block1": "blocks.1", "block2": "blocks.2", HEAD: "classifier"}
        expected = {place[name]: 0.01 * train.lr for name, train in phase.train.items()}
        assert {name: rate for name, rate in rates.items()} == pytest.approx(
            {
                name: rate
                for name in dict(net.named_parameters())
                for top, rate in expected.items()
                if name.startswith(top)
            }
        )


def test_the_result_says_what_each_phase_took_and_the_module_is_as_it_came(tmp_path: Path) -> None:
    net = make_net()
    net.blocks[0].eval()
    _, done = run(tmp_path, net=net, plan="lp_ft", epochs=5, probe=0.4)
    assert isinstance(done, Fitted)
    assert [(phase.name, phase.epochs) for phase in done.phases] == [("head", 2), ("all", 3)]
    assert done.phases[0].parameters == 27 and done.phases[1].parameters == sum(p.numel() for p in net.parameters())
    assert all(phase.seconds > 0 for phase in done.phases)
    assert set(done.metrics) == {"train_loss", "val_loss"}
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert {path for path, module in net.named_modules() if not module.training} == {
        "blocks.0", "blocks.0.0", "blocks.0.1", "blocks.0.2", "blocks.0.3",
    }  # fmt: skip


def test_epochs_and_steps_go_on_counting_in_one_log(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(tmp_path, 4, LearningRateMonitor("epoch"), logger=logger, log_every_n_steps=1)
    fit(trainer, make_net(), Data(), "gradual", head="classifier")
    rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    epochs = [row[rows[0].index("epoch")] for row in rows[1:] if row[rows[0].index("train_loss")]]
    steps = [row[rows[0].index("step")] for row in rows[1:] if row[rows[0].index("train_loss")]]
    assert epochs == ["0", "1", "2", "3"] and steps == ["3", "7", "11", "15"]
    assert trainer.current_epoch == 4 and trainer.global_step == 16


def test_a_schedule_lasts_for_its_phase(tmp_path: Path) -> None:
    def configure(net: Net) -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        lasts = int(net.trainer.estimated_stepping_batches)
        return [optimizer], [{"scheduler": lr_scheduler.LinearLR(optimizer, 1.0, 0.0, lasts), "interval": "step"}]

    net, _ = run(tmp_path, net=make_net(configure), plan="lp_ft", probe=0.5, scale=0.5, epochs=4)
    fall = [1 - step / 8 for step in range(8)]
    assert [rates["classifier.1.bias"] for rates in net.rates] == pytest.approx([*fall, *(0.5 * rate for rate in fall)])


def test_several_optimizers_of_one_s_own_making(tmp_path: Path) -> None:
    class Manual(Net):
        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
            self._note()
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            body, head = self.optimizers()  # type: ignore[misc]
            body.zero_grad()
            head.zero_grad()
            self.manual_backward(loss)
            body.step()
            head.step()

    def configure(net: Net) -> Any:
        return [torch.optim.SGD(net.blocks.parameters(), 0.1), torch.optim.Adam(net.classifier.parameters(), 0.02)]

    torch.manual_seed(0)
    net = Manual(configure)
    net.automatic_optimization = False
    run(tmp_path, net=net, plan="lp_ft", probe=0.5, scale=0.5, epochs=2)
    assert set(net.rates[0].values()) == {0.02} and set(net.rates[-1].values()) == {0.05, 0.01}


def test_a_plan_made_by_hand_and_groups_by_name(tmp_path: Path) -> None:
    groups = {"low": ["blocks.0"], "norms": "blocks.[12].1.*", "rest": "blocks"}
    plan = Plan(
        (Phase("norms", 1, {"norms": Train(0.5)}), Phase("low", 1, {"low": Train(), HEAD: Train(2.0)})), tuple(groups)
    )
    net, _ = run(tmp_path, plan=plan, groups=groups, epochs=None)
    assert net.rates[0] == dict.fromkeys([f"blocks.{n}.1.{kind}" for n in (1, 2) for kind in ("weight", "bias")], 0.005)
    assert {name: rate for name, rate in net.rates[-1].items() if rate == 0.02}.keys() == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    assert make_plan("last_k", make_net(), 3, head="classifier", k=2).groups == GROUPS


def test_what_never_required_a_gradient_never_trains(tmp_path: Path) -> None:
    net = make_net()
    net.get_parameter("blocks.1.0.weight").requires_grad_(False)
    before = copy_tensors(net)
    run(tmp_path, net=net, plan="full", epochs=1)
    after = copy_tensors(net)
    assert torch.equal(after["blocks.1.0.weight"], before["blocks.1.0.weight"])
    assert not torch.equal(after["blocks.1.1.running_mean"], before["blocks.1.1.running_mean"])
    assert {name for name, one in net.named_parameters() if not one.requires_grad} == {"blocks.1.0.weight"}


def test_a_module_that_changes_what_is_frozen_is_found(tmp_path: Path) -> None:
    class Meddler(Net):
        def on_train_epoch_end(self) -> None:
            with torch.no_grad():
                self.get_parameter("blocks.0.0.weight").mul_(0.5)

    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match="phase head: the module's own code has changed what is frozen: stem$"):
        run(tmp_path, net=Meddler(), plan="linear_probe", epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "gradul"}, "plan: 'gradul' is not known; choose one of: .*gradual"),
        ({"plan": "last_k", "k": 7}, "^k: 7 is invalid: expected a whole number from 1 to 3"),
        ({"plan": "last_k", "n": 1}, "an option of last_k: 'n' is not known; choose one of: k"),
        ({"plan": "scratch"}, "plan: it changes the network first"),
        ({"plan": "fpt"}, r"^plan=fpt .* there is none; choose plan=norm_only\.$"),
        ({"plan": None}, "plan: None is invalid: expected a Plan"),
        ({"epochs": None}, "trainer.max_epochs: None is invalid"),
        (
            {"plan": Plan((Phase("a", 6, {"low": Train()}),), ("low",))},
            "plan: it is for the groups low; the module has",
        ),
        ({"plan": Plan((Phase("a", 5, {"stem": Train()}),), GROUPS)}, "trainer.max_epochs: 6 is invalid: expected 5"),
        (
            {"plan": Plan((Phase("a", 6, {"stem": Train()}),), GROUPS), "k": 2},
            "k: expected with the name of a strategy",
        ),
        (
            {"net": make_net(lambda net: torch.optim.SGD(net.classifier.parameters()))},
            "it leaves out blocks.2.0.weight",
        ),
    ],
)
def test_a_mistake_in_a_plan_is_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path, **options)


def test_a_trainer_that_cannot_follow_a_plan_is_refused(tmp_path: Path) -> None:
    def refuse(message: str, *callbacks: pl.Callback, **options: Any) -> None:
        with pytest.raises(UserError, match=message):
            fit(make_trainer(tmp_path, 2, *callbacks, **options), make_net(), Data(), "full", head="classifier")

    refuse("BackboneFinetuning is invalid with a plan: it freezes by a rule of its own", BackboneFinetuning())
    refuse("StochasticWeightAveraging is invalid", StochasticWeightAveraging(0.1))
    refuse("trainer.max_steps: a plan counts epochs", max_steps=5)
    refuse("trainer.strategy: its processes live for one fit", strategy="ddp_spawn", devices=2)
    (tmp_path / "hpc_ckpt_1.ckpt").touch()
    refuse("Lightning would go back to .*hpc_ckpt_1.ckpt in each phase")
    trainer = make_trainer(tmp_path / "used", 1)
    trainer.fit(make_net(), Data())
    with pytest.raises(UserError, match="trainer: it has trained 1 epochs already"):
        fit(trainer, make_net(), Data(), "full", head="classifier")
    with pytest.raises(UserError, match="trainer: str is invalid"):
        fit("cpu", make_net(), Data(), "full", head="classifier")
    with pytest.raises(UserError, match="module: Linear is invalid: expected a LightningModule"):
        fit(make_trainer(tmp_path / "new", 1), nn.Linear(2, 2), Data(), "full", head="classifier")
