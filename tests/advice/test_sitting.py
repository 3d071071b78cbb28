"""An advice from its question to its answer: nothing is trained twice, the time is kept, and a kill loses nothing."""

from collections import Counter
from pathlib import Path

import pytest
from tests.advice.pretend import Pretend, ask, sit, strategy
from tests.advice.races import race, racer

from frostline.advice.answer import list_alike
from frostline.advice.index import read
from frostline.advice.race import replay_moves
from frostline.advice.sitting import is_behind
from frostline.errors import UserError

LONG = "advise.within=1h"


def test_the_best_is_found_tested_once_and_nothing_is_trained_twice(tmp_path: Path) -> None:
    launcher = Pretend()
    sitting = sit(ask(tmp_path, LONG), launcher, tmp_path)
    answer = sitting.index.content["answer"]
    assert answer["strategy"] == "last_k(k=1)" and answer["rate"] == 0.001
    assert (answer["epochs"], answer["planned"]) == (10, 10)
    assert answer["test"] == pytest.approx(0.84, abs=0.001)
    assert [config.test for config in launcher.ran].count(True) == 1
    assert max(Counter(launcher.trained).values()) == 1


def test_who_cannot_win_is_not_trained_to_its_end_and_the_reason_stands_in_the_record(tmp_path: Path) -> None:
    sitting = sit(ask(tmp_path, LONG), Pretend(), tmp_path)
    rows = {row["name"]: row for row in sitting.index.content["trials"]}
    assert 0 < rows["full at 0.0001"]["done"] < 10
    assert "likely to beat" in rows["full at 0.0001"]["out"]
    assert "stops" in {row["what"] for row in sitting.index.content["moves"]}


@pytest.mark.parametrize(("within", "slow"), [(40, 1.0), (60, 1.8), (90, 0.3), (150, 1.8), (300, 1.0), (900, 1.8)])
def test_the_time_is_kept_and_there_is_an_answer(tmp_path: Path, within: int, slow: float) -> None:
    launcher = Pretend(slow=slow)
    sitting = sit(ask(tmp_path, f"advise.within={within}"), launcher, tmp_path)
    assert launcher.now <= within
    assert sitting.index.content["answer"] is not None


def test_more_time_never_gives_a_worse_answer_here(tmp_path: Path) -> None:
    found = []
    for within in (40, 200, 600):
        sitting = sit(ask(tmp_path, f"advise.within={within}"), Pretend(), tmp_path / str(within))
        found.append(sitting.index.content["answer"]["validation"])
    assert found == sorted(found) and found[0] < found[-1]


def test_a_longer_time_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    first, second = Pretend(), Pretend()
    sit(ask(tmp_path, "advise.within=60"), first, tmp_path)
    sitting = sit(ask(tmp_path, "advise.within=600"), second, tmp_path)
    assert first.trained and not set(first.trained) & set(second.trained)
    assert sitting.index.content["answer"]["strategy"] == "last_k(k=1)"
    assert sitting.index.content["seconds"] == pytest.approx(first.now + second.now)


def test_the_same_command_again_trains_nothing(tmp_path: Path) -> None:
    sit(ask(tmp_path, LONG), Pretend(), tmp_path)
    again = Pretend()
    sitting = sit(ask(tmp_path, LONG), again, tmp_path)
    assert again.trained == [] and sitting.index.content["answer"]["strategy"] == "last_k(k=1)"


@pytest.mark.parametrize("leaves", [1, 5])
def test_a_kill_loses_nothing_that_was_trained(tmp_path: Path, leaves: int) -> None:
    killed, after, whole = Pretend(leaves=leaves), Pretend(), Pretend()
    with pytest.raises(KeyboardInterrupt):
        sit(ask(tmp_path, LONG), killed, tmp_path)
    sitting = sit(ask(tmp_path, LONG), after, tmp_path)
    expected = sit(ask(tmp_path, LONG), whole, tmp_path / "whole")
    assert not set(killed.trained) & set(after.trained)
    names = ("name", "strategy", "rate", "epochs", "validation", "test")
    answers = [{name: one.index.content["answer"][name] for name in names} for one in (sitting, expected)]
    assert answers[0] == answers[1]


def test_a_candidate_that_fails_costs_no_other(tmp_path: Path) -> None:
    def fails(config) -> str | None:
        return "diverged: the loss became nan" if strategy(config) == "last_k" else None

    sitting = sit(ask(tmp_path, LONG), Pretend(fails), tmp_path)
    rows = {row["name"]: row for row in sitting.index.content["trials"]}
    assert rows["last at 0.001"]["out"] == "diverged: the loss became nan"
    assert sitting.index.content["answer"]["strategy"] != "last_k(k=1)"


def test_where_all_fail_there_is_no_answer_and_every_reason_is_kept(tmp_path: Path) -> None:
    sitting = sit(ask(tmp_path, LONG), Pretend(lambda config: "failed: out of memory"), tmp_path)
    assert sitting.index.content["answer"] is None
    assert {row["out"] for row in sitting.index.content["trials"]} == {"failed: out of memory"}


def test_where_nothing_can_be_built_the_reason_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Pretend()
    wrong = {"error": "data.root: there is no such folder."}
    monkeypatch.setattr(launcher, "ask", lambda question, configs: {"data": {}, "runs": [wrong for _ in configs]})
    with pytest.raises(UserError, match="none of them can be run; data.root: there is no such folder"):
        sit(ask(tmp_path, LONG), launcher, tmp_path)
    assert launcher.ran == []


def test_every_move_is_decided_again_from_its_record(tmp_path: Path) -> None:
    inquiry = ask(tmp_path, "advise.within=300")
    sit(inquiry, Pretend(), tmp_path)
    content = read(tmp_path / "outputs" / "advice" / inquiry.name)
    assert content is not None
    moves = [row for row in content["moves"] if "state" in row]
    again = replay_moves(moves)
    assert len(moves) > 4 and [(move.name, move.until) for move in again if move] == [
        (row["name"], row["until"]) for row in moves
    ]


def test_those_that_cannot_be_told_apart_are_run_with_more_seeds(tmp_path: Path) -> None:
    sitting = sit(ask(tmp_path, LONG), Pretend(), tmp_path)
    seeds = {row["seed"] for row in sitting.index.content["trials"] if row["name"] == "last at 0.001"}
    repeated = {row["name"] for row in sitting.index.content["moves"] if row["what"] == "is repeated"}
    assert "last at 0.001" not in repeated or {0, 1} <= seeds
    one = sit(ask(tmp_path, LONG, "advise.seeds=1"), Pretend(), tmp_path / "one")
    assert {row["seed"] for row in one.index.content["trials"]} == {0}


def test_runs_that_another_advice_has_made_are_there_and_have_a_price(tmp_path: Path) -> None:
    sit(ask(tmp_path, LONG, "advise.name=first"), Pretend(), tmp_path)
    again = Pretend()
    sitting = sit(ask(tmp_path, LONG, "advise.name=second"), again, tmp_path)
    assert again.trained == []
    rows = {(row["name"], row["seed"]): row for row in sitting.index.content["trials"]}
    assert rows["last at 0.001", 0]["seconds"] == pytest.approx(43.0) and ("joined", 0) in rows
    assert all(price["seconds"] > 0 for price in sitting.index.content["answer"]["prices"])


def test_who_falls_behind_with_more_seeds_is_alike_no_more() -> None:
    errors = {"best": [0.20, 0.21, 0.20], "behind": [0.25, 0.26, 0.25], "near": [0.20, 0.22, 0.19]}
    assert is_behind(errors["behind"], errors["best"], looks=2)
    assert not is_behind(errors["near"], errors["best"], looks=2)
    assert not is_behind(errors["behind"][:1], errors["best"][:1], looks=2)
    there = race(racer("best", 10, 0.2), racer("behind", 10, 0.2, behind=True), racer("near", 10, 0.205))
    assert [one.name for one in list_alike(there)] == ["best", "near"]
