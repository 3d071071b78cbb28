"""The plan of each strategy on three families, and what is said when it does not fit."""

import pytest
from tests.configs import make_plan

from frostline.freeze.plan import Plan, Train

RESNET = "stem stage1 stage2 stage3 stage4".split()
EFFICIENTNET = "stem stage1 stage2 stage3 stage4 stage5 stage6 stage7".split()
VIT = "stem block1 block2 block3 block4 block5 block6 block7 block8 block9 block10 block11 block12".split()
FAMILIES = {"resnet": RESNET, "efficientnet": EFFICIENTNET, "vit": VIT}

RESNET_ALL = "stem=1 stage1=1 stage2=1 stage3=1 stage4=1 head=1"
EFFICIENTNET_ALL = "stem=1 stage1=1 stage2=1 stage3=1 stage4=1 stage5=1 stage6=1 stage7=1 head=1"
VIT_ALL = (
    "stem=1 block1=1 block2=1 block3=1 block4=1 block5=1 block6=1 block7=1 block8=1 block9=1 block10=1 block11=1 "
    "block12=1 head=1"
)

# strategy, options, and for each family the phases of 20 epochs as "name epochs: group=scale[kind] ..."
EXPECTED = [
    (
        "scratch",
        {},
        {
            "resnet": [f"all 20: {RESNET_ALL}"],
            "efficientnet": [f"all 20: {EFFICIENTNET_ALL}"],
            "vit": [f"all 20: {VIT_ALL}"],
        },
    ),
    (
        "full",
        {},
        {
            "resnet": [f"all 20: {RESNET_ALL}"],
            "efficientnet": [f"all 20: {EFFICIENTNET_ALL}"],
            "vit": [f"all 20: {VIT_ALL}"],
        },
    ),
    ("random_features", {}, dict.fromkeys(FAMILIES, ["head 20: head=1"])),
    ("linear_probe", {}, dict.fromkeys(FAMILIES, ["head 20: head=1"])),
    (
        "last_k",
        {},
        {
            "resnet": ["last1 20: stage4=1 head=1"],
            "efficientnet": ["last1 20: stage7=1 head=1"],
            "vit": ["last1 20: block12=1 head=1"],
        },
    ),
    (
        "last_k",
        {"k": 3},
        {
            "resnet": ["last3 20: stage2=1 stage3=1 stage4=1 head=1"],
            "efficientnet": ["last3 20: stage5=1 stage6=1 stage7=1 head=1"],
            "vit": ["last3 20: block10=1 block11=1 block12=1 head=1"],
        },
    ),
    (
        "surgical",
        {},
        {
            "resnet": ["surgical 20: stage1=1 head=1"],
            "efficientnet": ["surgical 20: stage1=1 head=1"],
            "vit": ["surgical 20: block1=1 head=1"],
        },
    ),
    (
        "surgical",
        {"train": ["*[24]", "stem"]},
        {
            "resnet": ["surgical 20: stem=1 stage2=1 stage4=1 head=1"],
            "efficientnet": ["surgical 20: stem=1 stage2=1 stage4=1 head=1"],
            "vit": ["surgical 20: stem=1 block2=1 block4=1 block12=1 head=1"],
        },
    ),
    (
        "layer_decay",
        {"decay": 0.5},
        {
            "resnet": ["all 20: stem=0.03125 stage1=0.0625 stage2=0.125 stage3=0.25 stage4=0.5 head=1"],
            "efficientnet": [
                "all 20: stem=0.00390625 stage1=0.0078125 stage2=0.015625 stage3=0.03125 stage4=0.0625 stage5=0.125 "
                "stage6=0.25 stage7=0.5 head=1"
            ],
            "vit": [
                "all 20: stem=0.0001220703125 block1=0.000244140625 block2=0.00048828125 block3=0.0009765625 "
                "block4=0.001953125 block5=0.00390625 block6=0.0078125 block7=0.015625 block8=0.03125 block9=0.0625 "
                "block10=0.125 block11=0.25 block12=0.5 head=1"
            ],
        },
    ),
    (
        "lp_ft",
        {},
        {
            "resnet": ["head 4: head=1", f"all 16: {RESNET_ALL.replace('=1', '=0.5')}"],
            "efficientnet": ["head 4: head=1", f"all 16: {EFFICIENTNET_ALL.replace('=1', '=0.5')}"],
            "vit": ["head 4: head=1", f"all 16: {VIT_ALL.replace('=1', '=0.5')}"],
        },
    ),
    (
        "lp_ft",
        {"probe": 0.3, "scale": 0.1},
        {
            "resnet": ["head 6: head=1", "all 14: stem=0.1 stage1=0.1 stage2=0.1 stage3=0.1 stage4=0.1 head=0.1"],
            "efficientnet": ["head 6: head=1", f"all 14: {EFFICIENTNET_ALL.replace('=1', '=0.1')}"],
            "vit": ["head 6: head=1", f"all 14: {VIT_ALL.replace('=1', '=0.1')}"],
        },
    ),
    (
        "lp_ft",
        {"k": 2},
        {
            "resnet": ["head 4: head=1", "last2 16: stage3=0.5 stage4=0.5 head=0.5"],
            "efficientnet": ["head 4: head=1", "last2 16: stage6=0.5 stage7=0.5 head=0.5"],
            "vit": ["head 4: head=1", "last2 16: block11=0.5 block12=0.5 head=0.5"],
        },
    ),
    (
        "gradual",
        {"factor": 2},
        {
            "resnet": [
                "head 1: head=1",
                "stage4 1: stage4=0.5 head=1",
                "stage3 1: stage3=0.25 stage4=0.5 head=1",
                "stage2 1: stage2=0.125 stage3=0.25 stage4=0.5 head=1",
                "stage1 1: stage1=0.0625 stage2=0.125 stage3=0.25 stage4=0.5 head=1",
                "stem 15: stem=0.03125 stage1=0.0625 stage2=0.125 stage3=0.25 stage4=0.5 head=1",
            ],
            "efficientnet": [
                "head 1: head=1",
                "stage7 1: stage7=0.5 head=1",
                "stage6 1: stage6=0.25 stage7=0.5 head=1",
                "stage5 1: stage5=0.125 stage6=0.25 stage7=0.5 head=1",
                "stage4 1: stage4=0.0625 stage5=0.125 stage6=0.25 stage7=0.5 head=1",
                "stage3 1: stage3=0.03125 stage4=0.0625 stage5=0.125 stage6=0.25 stage7=0.5 head=1",
                "stage2 1: stage2=0.015625 stage3=0.03125 stage4=0.0625 stage5=0.125 stage6=0.25 stage7=0.5 head=1",
                "stage1 1: stage1=0.0078125 stage2=0.015625 stage3=0.03125 stage4=0.0625 stage5=0.125 stage6=0.25 "
                "stage7=0.5 head=1",
                "stem 12: stem=0.00390625 stage1=0.0078125 stage2=0.015625 stage3=0.03125 stage4=0.0625 stage5=0.125 "
                "stage6=0.25 stage7=0.5 head=1",
            ],
        },
    ),
    (
        "chain_thaw",
        {},
        {
            "resnet": [
                "head 3: head=1",
                "stem 3: stem=0.1",
                "stage1 3: stage1=0.1",
                "stage2 3: stage2=0.1",
                "stage3 3: stage3=0.1",
                "stage4 3: stage4=0.1",
                "all 2: stem=0.1 stage1=0.1 stage2=0.1 stage3=0.1 stage4=0.1 head=0.1",
            ],
            "efficientnet": [
                "head 2: head=1",
                "stem 2: stem=0.1",
                "stage1 2: stage1=0.1",
                "stage2 2: stage2=0.1",
                "stage3 2: stage3=0.1",
                "stage4 2: stage4=0.1",
                "stage5 2: stage5=0.1",
                "stage6 2: stage6=0.1",
                "stage7 2: stage7=0.1",
                f"all 2: {EFFICIENTNET_ALL.replace('=1', '=0.1')}",
            ],
            "vit": [
                "head 2: head=1",
                "stem 2: stem=0.1",
                "block1 2: block1=0.1",
                "block2 2: block2=0.1",
                "block3 2: block3=0.1",
                "block4 1: block4=0.1",
                "block5 1: block5=0.1",
                "block6 1: block6=0.1",
                "block7 1: block7=0.1",
                "block8 1: block8=0.1",
                "block9 1: block9=0.1",
                "block10 1: block10=0.1",
                "block11 1: block11=0.1",
                "block12 1: block12=0.1",
                f"all 1: {VIT_ALL.replace('=1', '=0.1')}",
            ],
        },
    ),
    (
        "norm_only",
        {},
        {
            "resnet": ["norm 20: stem=1norm stage1=1norm stage2=1norm stage3=1norm stage4=1norm head=1"],
            "efficientnet": [
                "norm 20: stem=1norm stage1=1norm stage2=1norm stage3=1norm stage4=1norm stage5=1norm stage6=1norm "
                "stage7=1norm head=1"
            ],
            "vit": [
                "norm 20: stem=1norm block1=1norm block2=1norm block3=1norm block4=1norm block5=1norm block6=1norm "
                "block7=1norm block8=1norm block9=1norm block10=1norm block11=1norm block12=1norm head=1"
            ],
        },
    ),
    (
        "bias_only",
        {},
        {
            "resnet": ["bias 20: stem=1bias stage1=1bias stage2=1bias stage3=1bias stage4=1bias head=1"],
            "efficientnet": [
                "bias 20: stem=1bias stage1=1bias stage2=1bias stage3=1bias stage4=1bias stage5=1bias stage6=1bias "
                "stage7=1bias head=1"
            ],
            "vit": [
                "bias 20: stem=1bias block1=1bias block2=1bias block3=1bias block4=1bias block5=1bias block6=1bias "
                "block7=1bias block8=1bias block9=1bias block10=1bias block11=1bias block12=1bias head=1"
            ],
        },
    ),
]
CASES = [
    pytest.param(name, options, family, phases, id=f"{name}-{family}-{'-'.join(options) or 'defaults'}")
    for name, options, families in EXPECTED
    for family, phases in families.items()
]


def written(train: Train) -> str:
    return f"{train.lr:.12g}{'' if train.kind == 'all' else train.kind}"


def described(plan: Plan) -> list[str]:
    return [
        f"{phase.name} {phase.epochs}: " + " ".join(f"{name}={written(how)}" for name, how in phase.train.items())
        for phase in plan.phases
    ]


@pytest.mark.parametrize(("name", "options", "family", "phases"), CASES)
def test_plan(name: str, options: dict, family: str, phases: list[str]) -> None:
    plan = make_plan(name, FAMILIES[family], 20, **options)
    assert described(plan) == phases
    assert plan.groups == tuple(FAMILIES[family])
    assert plan.pretrained == (name not in ("scratch", "random_features"))
    assert plan.notes == ()


def test_gradual_on_a_vit() -> None:
    plan = make_plan("gradual", VIT, 20)
    assert [(phase.name, phase.epochs) for phase in plan.phases] == [
        *((name, 1) for name in "head block12 block11 block10 block9 block8 block7".split()),
        *((name, 1) for name in "block6 block5 block4 block3 block2 block1".split()),
        ("stem", 7),
    ]
    assert list(plan.phases[0].train) == ["head"]
    assert list(plan.phases[3].train) == ["block10", "block11", "block12", "head"]
    assert list(plan.phases[-1].train) == [*VIT, "head"]
    # 1/2.6, 1/2.6^2, 1/2.6^3 worked out by hand
    scales = [plan.phases[3].train[name].lr for name in ("head", "block12", "block11", "block10")]
    assert scales == pytest.approx([1, 0.384615384615, 0.147928994083, 0.0568957669549])


def test_layer_decay_defaults() -> None:
    train = make_plan("layer_decay", RESNET, 5).phases[0].train
    assert {name: how.lr for name, how in train.items()} == pytest.approx(
        {"head": 1, "stage4": 0.75, "stage3": 0.5625, "stage2": 0.421875, "stage1": 0.31640625, "stem": 0.2373046875}
    )


def test_gradual_phases_of_more_than_one_epoch() -> None:
    assert [phase.epochs for phase in make_plan("gradual", RESNET, 20, each=3).phases] == [3, 3, 3, 3, 3, 5]
    assert [phase.epochs for phase in make_plan("gradual", RESNET, 12, each=3).phases] == [2, 2, 2, 2, 2, 2]


def test_too_few_epochs_merge_neighbours_and_say_so() -> None:
    plan = make_plan("chain_thaw", RESNET, 4)
    assert described(plan) == [
        "head 1: head=1",
        "stem+stage1 1: stem=0.1 stage1=0.1",
        "stage2+stage3 1: stage2=0.1 stage3=0.1",
        "stage4+all 1: stem=0.1 stage1=0.1 stage2=0.1 stage3=0.1 stage4=0.1 head=0.1",
    ]
    assert plan.notes == ("The strategy's 7 phases do not fit into 4 epochs, so neighbouring phases were merged.",)


def test_one_epoch_of_lp_ft_trains_everything_at_the_larger_rate() -> None:
    plan = make_plan("lp_ft", ["stem", "stage1"], 1, scale=0.1)
    assert described(plan) == ["head+all 1: stem=0.1 stage1=0.1 head=1"]
    assert "do not fit into 1 epoch," in plan.notes[0]
