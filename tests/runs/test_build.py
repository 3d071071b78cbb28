"""The only builder: what configs have in common is one object, and what must be drawn alike is drawn alike."""

from pathlib import Path

import pytest
import torch
from tests.small_runs import make_run

from frostline.backbones.weights.loading import fingerprint
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.runs.build import Builder, check


def config(tmp_path: Path, *overrides: str) -> Run:
    return make_run(tmp_path, *overrides)[0]


def test_what_configs_have_in_common_is_made_once(tmp_path: Path) -> None:
    builder = Builder()
    probe, full, other = (
        builder.build(config(tmp_path, *words))
        for words in (["freeze=linear_probe"], ["freeze=full"], ["freeze=full", "seed=1"])
    )
    assert probe.backbone is full.backbone and probe.data is full.data and probe.task is full.task
    assert probe.plan is not full.plan and probe.head is not full.head
    assert other.backbone is not full.backbone and other.data is not full.data  # random weights and draws, by seed
    assert other.plan == full.plan


def test_the_same_config_gives_the_same_weights_whatever_was_drawn_before(tmp_path: Path) -> None:
    prints = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        made = Builder().build(config(tmp_path, "freeze=full", "head=mlp"))
        state = torch.get_rng_state()
        Builder().head(config(tmp_path, "head=mlp"), made.backbone, made.task, made.data.classes)
        assert torch.equal(torch.get_rng_state(), state)
        prints.append((made.backbone.fingerprint(), fingerprint(dict(made.head.named_parameters()))))
    assert prints[0] == prints[1]


def test_parameters_are_counted_by_group_and_by_phase(tmp_path: Path) -> None:
    made = Builder().build(config(tmp_path, "freeze=lp_ft", "epochs=4"))
    counts = made.count_parameters()
    assert list(counts) == [*made.backbone.groups, "head"]
    total = sum(one.numel() for part in (made.backbone, made.head) for one in part.parameters())
    assert sum(counts.values()) == total
    probe, whole = made.count_trained(0), made.count_trained(1)
    assert probe == {**dict.fromkeys(made.backbone.groups, 0), "head": counts["head"]} and whole == counts
    assert made.is_solved(0) and not made.is_solved(1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["head.solver=lbfgs", "data.balanced=true"], r"^data\.balanced: a solved head sees every sample once"),
        (["freeze=last_k", "freeze.k=99"], r"^freeze\.k: 99 "),
        (["task=regression", "monitor=rmse"], r"^data\.num_per_class: with task=regression"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Builder().build(config(tmp_path, "freeze=linear_probe", *overrides))


def test_what_no_part_can_look_after_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^trainer\.precision: "):
        check(config(tmp_path, "trainer.precision=8-mixed"))
    without = config(tmp_path)
    del without.optimizer["lr"]
    with pytest.raises(UserError, match=r"^optimizer\.lr is missing"):
        check(without)
