"""The race: who goes on and how far, who stops; from the same facts the same decisions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.advice.races import race, racer

from frostline.advice.race import Race, replay_moves

LONG = 1e6


def test_the_cheapest_goes_first_and_the_others_wait_for_what_it_comes_to() -> None:
    dear, cheap = racer("dear", seconds=20.0), racer("cheap")
    move = race(dear, cheap).choose_move(LONG)
    assert move is not None and (move.name, move.until) == ("cheap", 2)
    assert race(dear, racer("cheap", running=True)).choose_move(LONG) is None


def test_a_candidate_goes_on_to_the_next_rung_and_then_to_its_end() -> None:
    leader = racer("leader", 10, 0.20)
    found = [race(leader, racer("other", done, 0.20)).choose_move(LONG) for done in (0, 2, 3, 5)]
    assert [move.until for move in found if move] == [2, 5, 5, 10]


def test_what_is_solved_at_once_is_no_rung() -> None:
    move = race(racer("leader", 10, 0.2), racer("other", solved=3)).choose_move(LONG)
    assert move is not None and move.until == 5
    only = race(racer("solved", solved=10)).choose_move(LONG)
    assert only is not None and only.until == 10


def test_of_two_with_the_same_promise_the_cheaper_one_goes_on() -> None:
    move = race(racer("leader", 10, 0.2), racer("dear", seconds=30.0), racer("cheap")).choose_move(LONG)
    assert move is not None and move.name == "cheap"


def test_of_two_that_cost_the_same_the_one_that_promises_more_goes_on() -> None:
    move = race(racer("leader", 10, 0.2), racer("worse", 2, 0.24), racer("better", 2, 0.21)).choose_move(LONG)
    assert move is not None and move.name == "better"


def test_who_is_far_behind_late_stops_and_says_why() -> None:
    found = race(racer("leader", 10, 0.10), racer("late", 8, 0.30), racer("early", 2, 0.12)).list_hopeless()
    assert [name for name, _ in found] == ["late"]
    assert found[0][1] == "0% likely to beat leader by more than 0.005"


def test_where_nobody_is_likely_to_win_the_race_is_over() -> None:
    over = race(racer("leader", 10, 0.10), racer("ended", 10, 0.12), racer("out", 2, 0.2, out="10% likely"))
    assert over.choose_move(LONG) is None and over.list_hopeless() == []


def test_a_leader_that_is_not_at_its_end_goes_on() -> None:
    move = race(racer("leader", 5, 0.10), racer("behind", 10, 0.30)).choose_move(LONG)
    assert move is not None and (move.name, move.until, move.reason) == ("leader", 10, "leads, 52 s to its end")


@pytest.mark.parametrize(("left", "until"), [(14.0, None), (28.0, 1), (45.0, 2), (1000.0, 2)])
def test_nobody_goes_further_than_the_time_allows_on_the_careful_side(left: float, until: int | None) -> None:
    move = race(racer("leader", 10, 0.2), racer("other")).choose_move(left)
    assert (None if move is None else move.until) == until


def test_one_that_has_only_solved_its_head_is_judged_like_one_that_has_not_begun() -> None:
    frozen, leader = racer("frozen", 10, 0.2, solved=10), racer("leader", 10, 0.1)
    begun, waiting = racer("begun", 2, 0.4, solved=2), racer("waiting", solved=2)
    there = race(frozen, leader, begun, waiting)
    assert there.foresee(begun) == there.foresee(waiting)
    assert there.foresee(waiting).chance < race(frozen, begun, waiting).foresee(waiting).chance


def test_what_others_of_the_same_data_gained_moves_what_is_foretold() -> None:
    leader, waiting = racer("leader", 10, 0.2), racer("waiting", 2, 0.25)
    flat = racer("flat", 10, 0.25)
    steep = racer("steep", 10, 0.21, curve={epoch: 0.6 * 0.7**epoch for epoch in range(10)})
    gains = [race(leader, waiting, other).foresee(waiting).gain for other in (flat, steep)]
    assert gains[0] < gains[1] / 2


@given(
    st.lists(st.tuples(st.integers(0, 10), st.floats(0.001, 0.9), st.floats(0.1, 50.0)), min_size=1, max_size=6),
    st.floats(0.0, 1000.0),
)
def test_a_move_is_one_that_can_be_made_and_is_replayed_from_its_record(
    rows: list[tuple[int, float, float]], left: float
) -> None:
    there = race(
        *(
            racer(str(place), done, error if done else None, seconds=seconds)
            for place, (done, error, seconds) in enumerate(rows)
        )
    )
    move = there.choose_move(left)
    again = Race.read(json.loads(json.dumps(there.to_dict())))
    assert again.choose_move(left) == move
    assert replay_moves([{"state": {**json.loads(json.dumps(there.to_dict())), "left": left}}, {}]) == [move]
    if move is not None:
        one = next(one for one in there.racers if one.name == move.name)
        assert one.done < move.until <= one.epochs
        assert one.find_cost(move.until) <= left


@given(st.floats(0.01, 0.5), st.integers(1, 9))
def test_who_leads_is_never_said_to_have_no_chance(error: float, done: int) -> None:
    there = race(racer("leader", done, error), racer("other", 10, error * 1.5))
    assert "leader" not in [name for name, _ in there.list_hopeless()]
