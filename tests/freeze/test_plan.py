"""Plans as data: epochs, merging, JSON, and the rates of parameters."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.configs import make_plan

from frostline.errors import UserError
from frostline.freeze.plan import Draft, Phase, Plan, Train, arrange, learning_rates, merge, share_epochs
from frostline.freeze.strategies import bias_only, norm_only

GROUPS = ("stem", "stage1", "stage2")
NAMES = {
    "stem": ["stem.conv.weight", "stem.bn.weight", "stem.bn.bias"],
    "stage1": ["stage1.conv.weight", "stage1.conv.bias"],
    "stage2": ["stage2.fc.weight", "stage2.fc.bias", "stage2.norm.weight", "stage2.norm.bias", "stage2.bias_table"],
}
NORMS = {"stem.bn.weight", "stem.bn.bias", "stage2.norm.weight", "stage2.norm.bias"}
ALL = {name for names in NAMES.values() for name in names}
KINDS = {"all": ALL, "norm": NORMS, "bias": {name for name in ALL if name.endswith("bias")}}

weights = st.lists(st.floats(0.01, 100), min_size=1, max_size=20)
trains = st.dictionaries(
    st.sampled_from([*GROUPS, "head"]),
    st.builds(Train, st.floats(1e-6, 10), st.sampled_from(["all", "norm", "bias", "low_rank"])),
    min_size=1,
)
whole_heads = trains.map(lambda train: {**train, "head": Train(train["head"].lr)} if "head" in train else train)
draft_lists = st.lists(st.builds(Draft, st.text("abc", min_size=1), whole_heads, st.floats(0.01, 100)), min_size=1)


@given(weights, st.integers(0, 200))
def test_shares_become_whole_epochs(weights: list[float], extra: int) -> None:
    epochs = len(weights) + extra
    lengths = share_epochs(weights, epochs)
    assert sum(lengths) == epochs
    assert len(lengths) == len(weights)
    assert min(lengths) >= 1
    for a, length_a in zip(weights, lengths, strict=True):
        assert all(length_a >= length_b for b, length_b in zip(weights, lengths, strict=True) if a > b * 1.001)


@given(weights, st.integers(0, 200))
def test_shares_above_one_epoch_are_off_by_less_than_one(weights: list[float], extra: int) -> None:
    epochs = len(weights) + extra
    quotas = [epochs * weight / sum(weights) for weight in weights]
    if min(quotas) >= 1:
        pairs = zip(quotas, share_epochs(weights, epochs), strict=True)
        assert all(abs(quota - length) < 1 for quota, length in pairs)


@pytest.mark.parametrize(
    ("weights", "epochs", "lengths"),
    [
        ([1], 7, [7]),
        ([1, 1], 7, [4, 3]),
        ([0.3, 0.7], 10, [3, 7]),
        ([0.1, 0.2, 0.7], 10, [1, 2, 7]),
        ([1, 1, 1], 5, [2, 2, 1]),
        ([1, 1, 98], 5, [1, 1, 3]),
        ([1, 100, 1], 3, [1, 1, 1]),
    ],
)
def test_largest_remainder(weights: list[float], epochs: int, lengths: list[int]) -> None:
    assert share_epochs(weights, epochs) == lengths


@given(draft_lists, st.integers(1, 12))
def test_merged_phases_keep_order_and_train_the_union(drafts: list[Draft], limit: int) -> None:
    merged = merge(drafts, limit)
    assert len(merged) == min(limit, len(drafts))
    assert "+".join(draft.name for draft in merged) == "+".join(draft.name for draft in drafts)
    assert sum(draft.weight for draft in merged) == pytest.approx(sum(draft.weight for draft in drafts))
    rest = iter(drafts)
    for result in merged:
        parts = [next(rest) for _ in result.name.split("+")]
        assert set(result.train) == {name for part in parts for name in part.train}
        for name, how in result.train.items():
            ways = [part.train[name] for part in parts if name in part.train]
            assert how.lr == max(way.lr for way in ways)
            assert how.kind == (ways[0].kind if len({way.kind for way in ways}) == 1 else "all")


@given(draft_lists, st.integers(1, 40))
def test_any_plan_fits_its_epochs_and_survives_json(drafts: list[Draft], epochs: int) -> None:
    plan = arrange(GROUPS, epochs, drafts)
    assert plan.epochs == epochs
    assert bool(plan.notes) == (epochs < len(drafts))
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan


@given(draft_lists, st.integers(1, 40))
def test_at_walks_through_the_phases(drafts: list[Draft], epochs: int) -> None:
    plan = arrange(GROUPS, epochs, drafts)
    expected = [(i, e) for i, phase in enumerate(plan.phases) for e in range(phase.epochs)]
    assert [plan.at(epoch) for epoch in range(epochs)] == expected
    assert [plan.at(plan.start(i)) for i in range(len(plan.phases))] == [(i, 0) for i in range(len(plan.phases))]


def test_early_phases_live_longest_when_merged() -> None:
    names = [Draft(name, {"head": Train()}) for name in "abcdef"]
    assert [draft.name for draft in merge(names, 5)] == ["a", "b", "c", "d", "e+f"]
    assert [draft.name for draft in merge(names, 4)] == ["a", "b", "c+d", "e+f"]
    assert [draft.name for draft in merge(names, 3)] == ["a+b", "c+d", "e+f"]


def test_head_only() -> None:
    assert [phase.head_only for phase in make_plan("lp_ft", GROUPS, 4).phases] == [True, False]
    assert not make_plan("chain_thaw", GROUPS, 5).phases[1].head_only


def test_plan_is_frozen_and_whole() -> None:
    plan = make_plan("gradual", GROUPS, 8)
    with pytest.raises(AttributeError):
        plan.groups = ()  # type: ignore[misc]
    with pytest.raises(AssertionError):
        plan.at(8)
    with pytest.raises(AssertionError):
        plan.at(-1)
    with pytest.raises(AssertionError):
        Plan((Phase("a", 1, {"stage9": Train()}),), GROUPS)
    with pytest.raises(AssertionError):
        Phase("a", 1, {})
    with pytest.raises(AssertionError):
        Train(lr=0)


def test_rates_of_whole_groups() -> None:
    phase = Phase("a", 1, {"stage1": Train(0.5), "stage2": Train(0.1), "head": Train()})
    assert learning_rates(phase, NAMES, KINDS) == {
        "stage1.conv.weight": 0.5,
        "stage1.conv.bias": 0.5,
        "stage2.fc.weight": 0.1,
        "stage2.fc.bias": 0.1,
        "stage2.norm.weight": 0.1,
        "stage2.norm.bias": 0.1,
        "stage2.bias_table": 0.1,
    }


def test_rates_of_norms_and_biases() -> None:
    norm, bias = norm_only(GROUPS, 1).phases[0], bias_only(GROUPS, 1).phases[0]
    assert learning_rates(norm, NAMES, KINDS) == dict.fromkeys(NORMS, 1.0)
    assert set(learning_rates(bias, NAMES, KINDS)) == {
        "stem.bn.bias",
        "stage1.conv.bias",
        "stage2.fc.bias",
        "stage2.norm.bias",
    }


def test_a_head_alone_trains_nothing_of_the_backbone() -> None:
    assert learning_rates(Phase("a", 1, {"head": Train()}), NAMES, KINDS) == {}


def test_a_kind_that_matches_nothing_is_named() -> None:
    plain = {"stem": ["conv.weight"], "stage1": ["fc.weight"], "stage2": ["out.weight"]}
    kinds = {"all": {name for names in plain.values() for name in names}, "norm": set(), "bias": set()}
    with pytest.raises(UserError, match="phase 'bias' trains the bias parameters of stem, stage1, stage2, but"):
        learning_rates(bias_only(GROUPS, 1).phases[0], plain, kinds)
    with pytest.raises(UserError, match="phase 'norm' trains the normalisation parameters of stem"):
        learning_rates(norm_only(GROUPS, 1).phases[0], plain, kinds)


def test_a_kind_that_the_network_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(UserError, match=r"phase 'a': stem.kind: 'conv' is not known; choose one of: all, bias, norm"):
        learning_rates(Phase("a", 1, {"stem": Train(kind="conv")}), NAMES, KINDS)
