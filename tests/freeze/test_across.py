"""The strategies for a network behind an input adapter, and what all others make of that adapter."""

import json

import pytest
from tests.configs import make_plan

from frostline.errors import UserError
from frostline.freeze import strategies
from frostline.freeze.plan import Phase, Plan, Train

GROUPS = ("adapter", "embeddings", "block1", "block2", "norm")


def test_fpt_trains_the_adapter_the_norms_and_the_head() -> None:
    plan = make_plan("fpt", GROUPS, 5)
    (phase,) = plan.phases
    norms = dict.fromkeys(GROUPS[1:], Train(kind="norm"))
    assert phase.train == {"adapter": Train(), **norms, "head": Train()}
    assert phase.epochs == 5 and phase.objective == "task" and plan.pretrained
    control = make_plan("fpt", GROUPS, 5, pretrained=False)
    assert control.phases == plan.phases and not control.pretrained


@pytest.mark.parametrize(("epochs", "align", "first"), [(10, 0.2, 2), (10, 0.01, 1), (2, 0.9, 1), (7, 0.5, 4)])
def test_orca_aligns_the_adapter_alone_and_then_refines_everything(epochs: int, align: float, first: int) -> None:
    aligned, refined = make_plan("orca", GROUPS, epochs, align=align).phases
    assert (aligned.name, aligned.epochs, aligned.objective) == ("align", first, "align")
    assert aligned.train == {"adapter": Train()}
    assert (refined.epochs, refined.objective) == (epochs - first, "task")
    assert list(refined.train) == [*GROUPS, "head"]


def test_orca_refines_the_last_groups_where_it_is_told_so() -> None:
    _, refined = make_plan("orca", GROUPS, 10, k=2).phases
    assert list(refined.train) == ["adapter", "block2", "norm", "head"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_plan("fpt", GROUPS[1:], 5), r"^freeze=fpt trains an input adapter, .* adapter=NAME, .*norm_only"),
        (lambda: make_plan("orca", GROUPS[1:], 5), r"^freeze=orca trains an input adapter, .* or freeze=full"),
        (lambda: make_plan("orca", GROUPS, 1), r"^freeze\.align: 0\.2 of epochs=1 leaves no epoch"),
        (lambda: make_plan("orca", GROUPS, 10, align=1.0), r"^freeze\.align: 1\.0 of epochs=10 leaves no epoch"),
        (lambda: make_plan("orca", GROUPS, 10, align=0.0), r"^freeze\.align: 0\.0 must be a number above 0"),
        (lambda: make_plan("orca", GROUPS, 10, scale=0.0), r"^freeze\.scale: 0\.0 must be a number above 0"),
        (lambda: make_plan("orca", GROUPS, 10, k=5), r"^freeze\.k: 5 must be null or a whole number from 1 to 4"),
        (lambda: make_plan("orca", GROUPS, 10, k=0), r"^freeze\.k: 0 must be null"),
    ],
)
def test_what_is_impossible_is_said(make, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_to_align_is_the_adapters_business_alone() -> None:
    with pytest.raises(AssertionError, match="alone"):
        Phase("align", 1, {"adapter": Train(), "head": Train()}, "align")


@pytest.mark.parametrize(
    "plan", [make_plan("orca", GROUPS, 5), make_plan("fpt", GROUPS, 5), strategies.full(GROUPS, 5)]
)
def test_a_plan_goes_through_json(plan: Plan) -> None:
    written = plan.to_dict()
    assert Plan.from_dict(json.loads(json.dumps(written))) == plan
    assert [phase.get("objective") for phase in written["phases"]].count("align") == sum(
        phase.objective == "align" for phase in plan.phases
    )


def test_a_record_that_knows_no_objectives_is_read() -> None:
    plan = strategies.full(GROUPS, 5)
    assert "objective" not in plan.to_dict()["phases"][0]
    assert Plan.from_dict(plan.to_dict()) == plan


def test_the_adapter_is_the_first_group_for_the_others() -> None:
    assert make_plan("chain_thaw", GROUPS, 10).phases[1].train.keys() == {"adapter"}
    assert "adapter" not in make_plan("last_k", GROUPS, 5, k=2).phases[0].train
    assert make_plan("surgical", GROUPS, 5, train=["adapter"]).phases[0].train == {"adapter": Train(), "head": Train()}
