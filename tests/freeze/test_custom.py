"""Plans written by hand."""

from tests.configs import make_plan

from frostline.freeze.plan import Change, Plan, Train

RESNET = "stem stage1 stage2 stage3 stage4".split()


def described(plan: Plan) -> list[tuple]:
    return [(phase.name, phase.epochs, dict(phase.train)) for phase in plan.phases]


def test_first_match_wins() -> None:
    phases = [
        {"name": "warm", "epochs": 2, "train": {"head": 1}},
        {"train": {"stem": "frozen", "stage[12]": {"lr": 0.1, "kind": "norm"}, "head": 2, "*": {"kind": "bias"}}},
    ]
    norm, bias = Train(0.1, "norm"), Train(1, "bias")
    assert described(make_plan("custom", RESNET, 10, phases=phases)) == [
        ("warm", 2, {"head": Train(1)}),
        ("phase2", 8, {"stage1": norm, "stage2": norm, "stage3": bias, "stage4": bias, "head": Train(2)}),
    ]


def test_a_head_trains_whole_where_a_glob_matches_it() -> None:
    plan = make_plan("custom", ["stem"], 3, phases=[{"train": {"*": {"lr": 0.5, "kind": "norm"}}}])
    assert described(plan) == [("phase1", 3, {"stem": Train(0.5, "norm"), "head": Train(0.5)})]


def test_changes_come_before_the_phases() -> None:
    phases = [{"train": {"head": 1}}]
    plan = make_plan(
        "custom", ["stem"], 3, phases=phases, changes=[{"kind": "random_weights"}, {"kind": "x", "options": {"y": 2}}]
    )
    assert plan.changes == (Change("random_weights"), Change("x", {"y": 2})) and not plan.pretrained
    assert Plan.from_dict(plan.to_dict()) == plan


def test_shares() -> None:
    heads = [{"share": share, "train": {"head": 1}} for share in (1, 2, 3.5)]
    assert [phase.epochs for phase in make_plan("custom", RESNET, 13, phases=heads).phases] == [2, 4, 7]
    heads = [{"epochs": 3, "train": {"head": 1}}, {"train": {"head": 1}}, {"share": 3, "train": {"head": 1}}]
    assert [phase.epochs for phase in make_plan("custom", RESNET, 11, phases=heads).phases] == [3, 2, 6]
