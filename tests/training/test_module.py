"""The module: modes and gradients follow the phase, a loss that is no number is found, outputs come in order."""

from functools import partial

import pytest
import torch
from tests.configs import make_plan
from torch import Tensor

from frostline.freeze import strategies
from frostline.freeze.plan import Phase, Train
from frostline.training.module import Diverged


def test_train_never_wakes_what_is_frozen(build) -> None:
    rig = build(partial(make_plan, "chain_thaw"), epochs=9)
    module = rig.module
    for index, phase in enumerate(rig.plan.phases):
        module.enter(phase, rig.plan.start(index), rig.backbone)
        for _ in range(2):
            module.eval()
            assert not any(each.training for each in module.modules())
            module.train()
            assert module.head.training == ("head" in phase.train)
            for group, names in rig.backbone.groups.items():
                owners = {name.rpartition(".")[0] for name in names}
                training = {rig.backbone.get_submodule(owner).training for owner in owners}
                assert training == {group in phase.train}, (phase.name, group)


def test_a_frozen_part_gives_the_same_in_training_and_evaluation(build) -> None:
    rig = build(strategies.linear_probe, epochs=1)
    rig.module.enter(rig.plan.phases[0], 0, rig.backbone)
    images = rig.data.splits["train"].inputs(torch.arange(8), 0)
    with torch.no_grad():
        first, second = rig.backbone(images), rig.backbone(images)
        rig.module.eval()
        assert torch.equal(first, second) and torch.equal(first, rig.backbone(images))


def test_entering_a_phase_forgets_gradients(build) -> None:
    rig = build(strategies.full, epochs=1)
    rig.module.enter(rig.plan.phases[0], 0, rig.backbone)
    rig.module(rig.data.splits["train"].inputs(torch.arange(8), 0)).sum().backward()
    rig.module.enter(Phase("head", 1, {"head": Train()}), 0, rig.backbone)
    assert all(parameter.grad is None for parameter in rig.module.parameters())
    assert [name for name, each in rig.module.named_parameters() if each.requires_grad] == [
        "head.linear.weight",
        "head.linear.bias",
    ]


def test_a_loss_that_is_no_number_ends_the_run_and_loses_nothing(build) -> None:
    rig = build(strategies.linear_probe, epochs=3)
    step = rig.module.training_step

    def poisoned(batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if rig.trainer.current_epoch == 1:
            with torch.no_grad():
                rig.head.linear.weight.fill_(float("inf"))
        return step(batch, batch_idx)

    rig.module.training_step = poisoned
    with pytest.raises(Diverged, match=r"the loss became nan in epoch 1, step \d+, at optimizer.lr=0.01"):
        rig.fit(0)
    latest = rig.checkpoints.latest()
    assert latest is not None and latest["progress"]["epoch"] == 1
    assert latest["weights"]["head"]["linear.weight"].isfinite().all()


def test_an_enormous_rate_ends_in_divergence_too(build) -> None:
    rig = build(strategies.full, epochs=30, optimizer=torch.optim.SGD, rate=1e30)
    with pytest.raises(Diverged):
        rig.fit(0)


def test_outputs_come_once_in_order_of_index(build) -> None:
    rig = build(strategies.linear_probe, epochs=1)
    module = rig.module
    logits = torch.randn(6, 10)
    for indices in ([4, 0], [5, 1, 3, 2]):
        place = torch.tensor(indices)
        module.outputs.append({"outputs": logits[place], "label": place * 10, "index": place})
    found = module.collected()
    assert torch.equal(found["outputs"], logits) and found["index"].tolist() == list(range(6))
    assert found["label"].tolist() == [0, 10, 20, 30, 40, 50] and module.outputs == []


def test_the_scores_of_training_are_means_over_samples(build) -> None:
    rig = build(strategies.linear_probe, epochs=1, rate=0.0)
    rig.fit(0)
    (row,) = rig.rows
    assert row["train/loss"] == pytest.approx(2.302585, abs=1e-5), "a head of zeros: log 10"
    assert row["train/accuracy"] == pytest.approx(0.1), "four of each of ten classes, all taken for the first"
    assert row["val/loss"] == pytest.approx(2.302585, abs=1e-5)
