"""What a run computes: FLOPs counted by hand, before it starts and after it has ended."""

import time
from pathlib import Path

import pytest
from tests.small_runs import make_run
from torch import nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import find_cuts
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.data.inputs import Pixels
from frostline.freeze.plan import Phase, Train
from frostline.heads import Linear
from frostline.runs.build import Builder
from frostline.runs.experiment import run_experiment
from frostline.runs.flops import Work, WorkModel, backward_flops, head_flops
from frostline.runs.setup import set_up

CONV, DEPTHWISE, LAST, HEAD = 2 * 64 * 4 * 27, 2 * 64 * 4 * 9, 2 * 256 * 5, 2 * 5 * 3


def by_hand() -> tuple[Backbone, Linear]:
    """8x8 images -> 4 maps -> the same by themselves -> 5 features -> 3 classes."""
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 5),
    )
    groups = {"stem": ["0.weight", "0.bias"], "middle": ["1.weight", "1.bias"], "last": ["4.weight", "4.bias"]}
    look = Pixels(8, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    return ImageBackbone(layers, "by hand", groups, look), Linear(5, 3, solver=None, dropout=0.0)


@pytest.mark.parametrize(
    ("train", "backward"),
    [
        ({"head": Train()}, HEAD),
        ({"head": Train(), "last": Train()}, 2 * HEAD + LAST),
        ({"head": Train(), "middle": Train()}, 2 * HEAD + LAST + DEPTHWISE),
        ({"last": Train()}, HEAD + LAST),
        ({"stem": Train(), "middle": Train(), "last": Train(), "head": Train()}, 2 * (HEAD + LAST + DEPTHWISE) + CONV),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_flops_are_those_counted_by_hand(train: dict[str, Train], backward: int) -> None:
    """A layer's gradient takes as much as its forward pass for its weights and as much again for its inputs."""
    backbone, head = by_hand()
    assert find_cuts(backbone, 8)[-1].flops == CONV + DEPTHWISE + LAST
    assert head_flops(head, 5) == HEAD
    flags = [parameter.requires_grad for parameter in backbone.parameters()]
    assert backward_flops(backbone, head, Phase("phase", 1, train), 8) == backward
    assert [parameter.requires_grad for parameter in backbone.parameters()] == flags
    assert all(parameter.grad is None for parameter in [*backbone.parameters(), *head.parameters()])


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_solved_phase_counts_one_pass_over_the_backbone_and_all_over_the_head(tmp_path: Path, enabled: str) -> None:
    config, folder = make_run(tmp_path, "freeze=linear_probe", f"cache.enabled={enabled}")
    record = run_experiment(config, folder.name, folder)
    again = set_up(config, folder, Builder(), time.monotonic())
    again.journal.resume()
    count, body = record.data["counts"], again.policy.cuts[-1].flops
    head, passes = 2 * again.made.backbone.num_features * 10, again.journal.progress.passes[0]
    over_head = head * (count["train"] * (passes + 1) + count["val"] + count["test"])
    over_body = body * (count["train"] + count["val"] + count["test"])
    assert passes > 5
    assert record.cost.backward_flops == head * count["train"] * passes
    assert record.cost.forward_flops == over_head + (over_body if enabled == "false" else 0)
    assert record.cost.flops_saved == (over_body if enabled == "true" else 0)


def test_a_run_takes_what_was_reckoned_before_it_began(tmp_path: Path) -> None:
    config, folder = make_run(tmp_path, "freeze=gradual", "head.solver=null", "epochs=6", "cache.enabled=false")
    before = set_up(config, folder, Builder(), time.monotonic())
    planned = WorkModel(before.made, before.policy).planned(test=True)
    cost = run_experiment(config, folder.name, folder).cost
    assert planned == Work(cost.forward_flops, cost.backward_flops, cost.flops_saved)
    assert planned.backward > 0 == planned.saved
