"""Wrong options of the strategies: each one is named, with what would be right."""

import pytest
from tests.configs import make_plan

from frostline.errors import UserError

RESNET = "stem stage1 stage2 stage3 stage4".split()
NAMES = "stem, stage1, stage2, stage3, stage4"
MISTAKES = [
    ("last_k", {"k": 0}, f"freeze.k: 0 is invalid: expected a whole number from 1 to 5, .*{NAMES}"),
    ("last_k", {"k": 6}, f"freeze.k: 6 is invalid: expected a whole number from 1 to 5, .*{NAMES}"),
    ("last_k", {"k": 1.5}, "freeze.k: 1.5 is invalid: expected a whole number"),
    ("last_k", {"k": True}, "freeze.k: True is invalid: expected a whole number"),
    ("surgical", {"train": ["stage1", "blok*"]}, rf"freeze.train: 'blok\*' matches nothing; choose from: {NAMES}\."),
    ("surgical", {"train": []}, "freeze.train: .*is invalid: expected a list"),
    ("surgical", {"train": [3]}, "freeze.train: .*is invalid: expected a list"),
    ("layer_decay", {"decay": 0}, "freeze.decay: 0 is invalid: expected a number above 0 and at most 1"),
    ("layer_decay", {"decay": 1.5}, "freeze.decay: 1.5 is invalid: expected a number above 0 and at most 1"),
    ("layer_decay", {"decay": float("nan")}, "freeze.decay: nan is invalid: expected a number"),
    ("lp_ft", {"probe": 1}, "freeze.probe: 1 leaves no epoch"),
    ("lp_ft", {"probe": -0.5}, "freeze.probe: -0.5 is invalid: expected a number above 0"),
    ("lp_ft", {"scale": "fast"}, "freeze.scale: 'fast' is invalid: expected a number above 0"),
    ("lp_ft", {"k": 6}, f"freeze.k: 6 is invalid: expected a whole number from 1 to 5, .*{NAMES}"),
    ("gradual", {"factor": 0.5}, "freeze.factor: 0.5 is invalid: expected 1 or more"),
    ("gradual", {"each": 0}, "freeze.each: 0 is invalid: expected a whole number"),
    ("chain_thaw", {"scale": 0}, "freeze.scale: 0 is invalid: expected a number above 0"),
    ("custom", {"phases": []}, "freeze.phases: .*one or more"),
    ("custom", {"phases": [], "changes": ["lora"]}, r"freeze.changes\[0\]: 'lora' is invalid: expected a mapping"),
    ("custom", {"phases": [], "changes": [{"kind": "a", "options": 3}]}, r"freeze.changes\[0\].options: 3 is invalid"),
    ("custom", {"phases": [], "changes": [{"kind": "input_adapter"}]}, "input_adapter is invalid here: .*adapter=NAME"),
    ("custom", {"phases": [], "changes": [{"kind": "a", "rank": 3}]}, r"freeze.changes\[0\]: 'rank' is not known"),
    ("custom", {"phases": ["head"]}, r"freeze.phases\[0\]: 'head' is invalid: expected a mapping"),
]


@pytest.mark.parametrize(("name", "options", "message"), MISTAKES)
def test_wrong_option_is_named(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(name, RESNET, 20, **options)


GOOD = {"epochs": 5, "train": {"head": 1}}
WRONG_PHASES = [
    ({"epochs": 5, "train": {"blok1": 1}}, rf"phases\[1\].train: 'blok1' matches nothing; .*{NAMES}, head\."),
    ({"epochs": 5, "train": {"*": 1, "stem": 2}}, r"phases\[1\].train: 'stem' comes after patterns"),
    ({"epochs": 5, "train": {"*": "frozen"}}, r"phases\[1\].train: nothing trains"),
    ({"epochs": 5, "train": {}}, r"phases\[1\].train: {} is invalid: expected a mapping"),
    ({"epochs": 5}, r"phases\[1\].train: None is invalid: expected a mapping"),
    ({"epochs": 5, "train": {"stem": 0}}, r"phases\[1\].train.stem: 0 is invalid: expected a number above 0"),
    (
        {"epochs": 5, "train": {"stem": {"lr": -1}}},
        r"phases\[1\].train.stem.lr: -1 is invalid: expected a number above 0",
    ),
    ({"epochs": 5, "train": {"stem": "slow"}}, r"phases\[1\].train.stem: 'slow' is invalid: expected a number above 0"),
    ({"epochs": 5, "train": {"stem": None}}, r"phases\[1\].train.stem: None is invalid: expected a number above 0"),
    (
        {"epochs": 5, "train": {"stem": {"kind": 3}}},
        r"train.stem.kind: 3 is invalid: expected a kind of parameter, such as all",
    ),
    ({"epochs": 5, "train": {"head": {"kind": "bias"}}}, r"train.head.kind: 'bias' is not possible"),
    ({"epochs": 5, "train": {"stem": {"rate": 1}}}, r"train.stem: 'rate' is not known; choose one of: lr, kind"),
    ({"epochs": 5, "share": 1, "train": {"head": 1}}, r"phases\[1\]: epochs and share are both given"),
    ({"epochs": 0, "train": {"head": 1}}, r"phases\[1\].epochs: 0 is invalid: expected a whole number"),
    ({"share": 0, "train": {"head": 1}}, r"phases\[1\].share: 0 is invalid: expected a number above 0"),
    ({"epoch": 5, "train": {"head": 1}}, r"phases\[1\]: 'epoch' is not known; .*name, epochs, share, train"),
    ({"epochs": 4, "train": {"head": 1}}, r"freeze.phases: the phases' epochs sum to 9, .*epochs=10"),
    ({"epochs": 6, "train": {"head": 1}}, r"freeze.phases: the phases' epochs sum to 11, .*epochs=10"),
]


@pytest.mark.parametrize(("phase", "message"), WRONG_PHASES)
def test_wrong_phase_is_named(phase: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan("custom", RESNET, 10, phases=[GOOD, phase])


def test_custom_shares_without_an_epoch_left() -> None:
    phases = [{"epochs": 10, "train": {"head": 1}}, {"train": {"*": 1}}]
    with pytest.raises(UserError, match="sum to 10 and 1 more phases need at least 1 each, .*epochs=10"):
        make_plan("custom", RESNET, 10, phases=phases)


@pytest.mark.parametrize("name", ["full", "gradual", "custom"])
@pytest.mark.parametrize("epochs", [0, -1, 2.5, True, "ten"])
def test_wrong_epochs_are_named(name: str, epochs: int) -> None:
    options = {"phases": [{"train": {"head": 1}}]} if name == "custom" else {}
    with pytest.raises(UserError, match=f"epochs: {epochs!r} is invalid: expected a whole number of 1 or more"):
        make_plan(name, RESNET, epochs, **options)
