"""Frozen means frozen, for every strategy; and a run that goes on ends as if it had never stopped."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from tests.configs import make_plan

from frostline.backbones.cuts import find_cuts, suffix
from frostline.errors import UserError
from frostline.features.policy import choose_cut
from frostline.features.prefix import PrefixCache
from frostline.freeze import strategies
from frostline.freeze.plan import Phase, Plan, Train, learning_rates
from frostline.heads import Linear
from frostline.training.checkpoint import decode, encode
from frostline.training.optim import cosine
from frostline.training.weights import Weights

STRATEGIES: dict[str, tuple[Callable[..., Plan], int]] = {
    "scratch": (strategies.scratch, 1),
    "random_features": (strategies.random_features, 1),
    "linear_probe": (strategies.linear_probe, 1),
    "last_k": (partial(make_plan, "last_k", k=2), 1),
    "surgical": (partial(make_plan, "surgical", train=["*2"]), 1),
    "full": (strategies.full, 1),
    "layer_decay": (partial(make_plan, "layer_decay"), 1),
    "lp_ft": (partial(make_plan, "lp_ft"), 2),
    "gradual": (partial(make_plan, "gradual"), 3),
    "chain_thaw": (partial(make_plan, "chain_thaw"), 9),
    "norm_only": (strategies.norm_only, 1),
    "bias_only": (strategies.bias_only, 1),
    "custom": (
        partial(
            make_plan,
            "custom",
            phases=[{"name": "middle", "train": {"*2": 1.0, "head": "frozen"}}, {"train": {"head": 0.5}}],
        ),
        2,
    ),
}


class Modes(Callback):
    """Notes in every step which modules train, and what the optimizer holds."""

    def __init__(self) -> None:
        self.training: set[str] = set()
        self.held: list[int] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.training |= {name for name, module in pl_module.backbone.named_modules() if module.training}
        (optimizer,) = trainer.optimizers
        self.held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]


def owner_of_buffers(groups: dict[str, list[str]]) -> dict[str, str]:
    """Module name to group, for modules with parameters."""
    return {name.rpartition(".")[0]: group for group, names in groups.items() for name in names}


@pytest.mark.parametrize("network", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_frozen_stays_bit_equal_and_what_trains_moves(build, name: str, network: str) -> None:
    strategy, epochs = STRATEGIES[name]
    rig = build(strategy, network, epochs=epochs, mlp=True)
    modes = Modes()
    rig.trainer.callbacks.append(modes)
    owners = owner_of_buffers(rig.backbone.groups)
    for index, phase in enumerate(rig.plan.phases):
        modes.training.clear()
        before = rig.tensors()
        rig.fit(index)
        after = rig.tensors()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        rates = learning_rates(phase, rig.backbone.groups, rig.backbone.kinds())
        trains = {f"backbone.{each}" for each in rates}
        trains |= {f"head.{each}" for each, _ in rig.head.named_parameters()} if "head" in phase.train else set()
        parameters = dict(rig.module.named_parameters())
        assert moved & set(parameters) == trains, phase.name
        assert {each for each, value in parameters.items() if value.requires_grad} == trains
        assert sorted(modes.held) == sorted(id(parameters[each]) for each in trains), "each exactly once"
        for buffer in moved - set(parameters):
            assert owners[buffer.removeprefix("backbone.").rpartition(".")[0]] in phase.train, buffer
        for module, group in owners.items():
            assert module not in modes.training or group in phase.train, f"{module} is frozen and in train mode"
    assert [row["phase"] for row in rig.rows] == [p.name for p in rig.plan.phases for _ in range(p.epochs)]
    assert [row["epoch"] for row in rig.rows] == list(range(rig.plan.epochs))
    assert rig.progress.step == 2 * rig.plan.epochs


def test_the_statistics_of_what_trains_do_move(build) -> None:
    rig = build(strategies.full, epochs=1)
    before = rig.tensors()
    rig.fit(0)
    means = [name for name in before if name.endswith("running_mean")]
    assert len(means) > 5
    assert not any(torch.equal(before[name], rig.tensors()[name]) for name in means)


def test_a_phase_on_cached_activations_keeps_the_prefix_and_moves_the_rest_alike(build, tmp_path: Path) -> None:
    last = partial(make_plan, "last_k", k=2)
    live, cached = build(last, folder=tmp_path / "live"), build(last, folder=tmp_path / "cached")
    live.fit(0)
    cuts = find_cuts(cached.backbone, 32)
    rates = learning_rates(cached.plan.phases[0], cached.backbone.groups, cached.backbone.kinds())
    cut = choose_cut(cuts, set(rates), 1000, 1e12).cut
    assert cut is not None
    cache = PrefixCache(None, cached.backbone, cached.data)
    cached.data.use({split: cache.collect(split, cut, [0]) for split in ("train", "val")})
    before = cached.tensors()
    cached.fit(0, suffix(cached.backbone, cut.name))
    for name, value in cached.tensors().items():
        torch.testing.assert_close(value, live.tensors()[name], rtol=1e-3, atol=1e-4)
        frozen = name.removeprefix("backbone.") in cut.parameters | cut.buffers
        assert not frozen or torch.equal(value, before[name]), name
    for one, other in zip(live.rows, cached.rows, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], abs=1e-3)


def three_phases(groups: Sequence[str], epochs: int) -> Plan:
    """The head for two epochs, then the last group for two, then everything for one."""
    top = {groups[-1]: Train(), "head": Train()}
    phases = (
        Phase("head", 2, {"head": Train()}),
        Phase("top", 2, top),
        Phase("all", 1, {name: Train(0.5) for name in (*groups, "head")}),
    )
    return Plan(phases, tuple(groups))


def test_a_run_that_goes_on_ends_bit_equal_wherever_it_stopped(build, tmp_path: Path) -> None:
    whole = build(three_phases, schedule=cosine(0.2), folder=tmp_path / "whole")
    stops = whole.photograph()
    for index in range(3):
        whole.fit(index)
    assert len(stops) == 5
    for stop in stops[:4]:
        rig = build(three_phases, schedule=cosine(0.2), folder=stop)
        torch.manual_seed(123)
        optimizer = rig.resume()
        for index in range(rig.plan.at(rig.progress.epoch)[0], 3):
            rig.fit(index, restore=optimizer)
            optimizer = None
        for name, value in rig.tensors().items():
            assert torch.equal(value, whole.tensors()[name]), f"{stop.name}: {name}"
        expected, got = ([{**row, "seconds": 0} for row in each.progress.history] for each in (whole, rig))
        assert got == expected, stop.name
        assert (rig.progress.step, rig.progress.best) == (whole.progress.step, whole.progress.best)


def test_each_phase_has_its_own_schedule_and_rates(build) -> None:
    rig = build(three_phases, schedule=lambda progress: 1 - progress / 2)
    for index in range(3):
        rig.fit(index)
    heads = [row["lr/head"] / 1e-2 for row in rig.rows]
    assert heads == pytest.approx([0.8125, 0.5625, 0.8125, 0.5625, 0.3125])  # an epoch's last step
    assert "lr/stage4" not in rig.rows[1] and rig.rows[2]["lr/stage4"] == pytest.approx(0.8125e-2)
    assert rig.rows[4]["lr/stem"] == pytest.approx(0.3125e-2)


def test_weights_come_back_bit_equal_and_leave_out_what_never_trains(build, make, tmp_path: Path) -> None:
    rig = build(partial(make_plan, "last_k", k=1), epochs=1)
    rig.fit(0)
    (tmp_path / "file").write_bytes(encode(rig.weights.state()))
    state = decode(tmp_path / "file")
    assert set(state["backbone"]) == {
        name.removeprefix("backbone.") for name in rig.tensors() if name.startswith("backbone.network.layer4")
    }
    other = make()
    head = Linear(other.num_features, 10, solver=None, dropout=0.0)
    Weights(other, head, rig.plan).load(state)
    for name, value in rig.tensors().items():
        mine = {**dict(other.named_parameters()), **dict(other.named_buffers())}
        mine = {f"backbone.{key}": item for key, item in mine.items()} | {
            f"head.{key}": item for key, item in head.named_parameters()
        }
        assert torch.equal(mine[name], value), name


def test_a_checkpoint_of_another_network_is_refused_and_changes_nothing(build, make, tmp_path: Path) -> None:
    rig = build(strategies.full, epochs=1)
    state = rig.weights.state()
    vit = make("test_vit")
    weights = Weights(
        vit, Linear(vit.num_features, 10, solver=None, dropout=0.0), strategies.full(tuple(vit.groups), 1)
    )
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    with pytest.raises(
        UserError, match=r"missing \[.*blocks.*unexpected \[.*layer.*shape \[.*head.linear.weight.*force"
    ):
        weights.load(state)
    assert all(torch.equal(value, before[name]) for name, value in vit.state_dict().items())
    for parameter in rig.backbone.parameters():
        parameter.data.zero_()
    larger = Weights(rig.backbone, Linear(rig.backbone.num_features, 11, solver=None, dropout=0.0), rig.plan)
    with pytest.raises(UserError, match=r"missing \[\], unexpected \[\], of another shape \['head.linear.bias'"):
        larger.load(rig.weights.state() | {"head": state["head"]})
