"""Where a phase is cached: exact, within the budget, the same every time, and said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, find_cuts
from frostline.features.policy import Choice, choose_cut
from frostline.units import format_bytes

SAMPLES = 1000
UNTRAINED = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 10**7), st.integers(0, 10**9)), min_size=1, max_size=12
)


@pytest.fixture
def backbone(make) -> Backbone:
    return make("test_resnet")


def cuts_of(backbone: Backbone) -> list[Cut]:
    return find_cuts(backbone, 32)


def trainable(backbone: Backbone, *groups: str) -> set[str]:
    return {name for group in groups for name in backbone.groups[group]}


def test_a_frozen_backbone_is_cached_at_its_features(backbone: Backbone) -> None:
    choice = choose_cut(cuts_of(backbone), set(), SAMPLES, 1e9)
    assert choice.cut is not None and choice.cut == cuts_of(backbone)[-1] and choice.cut.name == "features"
    assert choice.reason == "at features, 384 kB"


def test_nothing_is_cached_when_everything_trains(backbone: Backbone) -> None:
    everything = trainable(backbone, *backbone.groups)
    assert choose_cut(cuts_of(backbone), everything, SAMPLES, 1e9) == Choice(
        None, "nothing below the first trainable layer is frozen"
    )


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_every_frozen_prefix_ends_below_what_trains(backbone: Backbone, first: int) -> None:
    trains = trainable(backbone, *list(backbone.groups)[first:])
    choice = choose_cut(cuts_of(backbone), trains, SAMPLES, 1e12)
    assert choice.cut is not None and choice.cut.parameters
    assert not choice.cut.parameters & trains
    assert choice == choose_cut(list(cuts_of(backbone)), set(trains), SAMPLES, 1e12)


def test_a_frozen_group_above_a_trainable_one_is_not_cached(backbone: Backbone) -> None:
    choice = choose_cut(cuts_of(backbone), trainable(backbone, "stage2"), SAMPLES, 1e12)
    assert choice.cut is not None
    assert choice.cut.parameters <= trainable(backbone, "stem", "stage1")


def test_a_small_budget_is_said(backbone: Backbone) -> None:
    assert choose_cut(cuts_of(backbone), set(), SAMPLES, 1000) == Choice(None, "needs 384 kB, cache.max_gb allows 1 kB")


def test_reading_that_costs_more_than_computing_is_said() -> None:
    wide = Cut("wide", frozenset({"a"}), (10**6,), 4 * 10**6, 1000)
    assert choose_cut([wide], {"b"}, 10, 1e12) == Choice(None, "reading would cost more than computing")


@settings(deadline=None)
@given(steps=UNTRAINED, trains=st.integers(0, 12), samples=st.integers(1, 10**6), most=st.integers(0, 10**13))
def test_a_choice_is_exact_fits_and_pays(
    steps: list[tuple[int, int, int]], trains: int, samples: int, most: int
) -> None:
    cuts, used, flops = [], 0, 0
    for place, (parameters, count, cost) in enumerate(steps):
        used, flops = used + parameters, flops + cost
        names = frozenset(f"p{index}" for index in range(used))
        cuts.append(Cut(f"cut{place}", names, (count,), 4 * count, flops))
    train = {f"p{index}" for index in range(trains, used)}
    choice = choose_cut(cuts, train, samples, most)
    assert choice == choose_cut(cuts, train, samples, most) and choice.reason
    if choice.cut is not None:
        assert choice.cut.parameters and not choice.cut.parameters & train
        assert choice.cut.bytes * samples <= most
        assert format_bytes(choice.cut.bytes * samples) in choice.reason
    if all(not cut.parameters or cut.parameters & train for cut in cuts):
        assert choice.reason == "nothing below the first trainable layer is frozen"
