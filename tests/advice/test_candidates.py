"""Candidates: read from a mapping that people change by name; what is wrong with one is a sentence of its own."""

from pathlib import Path

import pytest

from frostline.advice.candidates import divide_candidates, make_inquiry, read_duration
from frostline.errors import UserError

LEFT_OUT = ("last", "upper", "joined_then_last", "joined_then_all", "probe_then_all")
SMALL = ["backbone=timm", "backbone.name=test_resnet", "data=digits", "epochs=4"]
SMALL += [f"~advise.candidates.{name}" for name in LEFT_OUT]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), (90, 90.0), ("90s", 90.0), ("5m", 300.0), ("5 min", 300.0), ("1.5h", 5400.0)]
)
def test_a_time_is_seconds_or_has_a_unit(text: object, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "-5m", "0", "5 days", "1e3", True, None, "nan", [5]])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(UserError, match=r"^advise\.within: .* is no time: expected seconds, or 90s, 5m, 2h\.$"):
        read_duration(text)


def test_each_candidate_races_at_each_rate_and_one_that_sets_its_own_at_that(tmp_path: Path) -> None:
    mine = "+advise.candidates.mine={last_k: {k: 2, optimizer.lr: 0.01}}"
    given = [*SMALL, f"outputs={tmp_path}", "advise.rates=[0.1,0.2]"]
    found = make_inquiry([*given, mine, "~advise.candidates.mix"], None)
    names = [one.name for one in found.candidates]
    assert {"full at 0.1", "full at 0.2", "mine at 0.01"} <= set(names)
    assert not any(name.startswith("mix") for name in names)
    job = next(one for one in found.candidates if one.name == "mine at 0.01").make_trial(3)
    assert (job.config.optimizer["lr"], job.config.freeze["k"], job.config.seed) == (0.01, 2, 3)
    assert job.config.judged and not job.config.test and job.config.group == found.name


def test_a_name_with_another_strategy_is_another_candidate(tmp_path: Path) -> None:
    other = "++advise.candidates.full={last_k: {k: 2}}"
    found = make_inquiry([*SMALL, f"outputs={tmp_path}", other], None)
    assert {one.level.name for one in found.candidates if one.name.startswith("full")} == {"last_k(k=2)"}


def test_null_leaves_a_candidate_out(tmp_path: Path) -> None:
    found = make_inquiry([*SMALL, f"outputs={tmp_path}", "advise.candidates.full=null"], None)
    assert not any(one.name.startswith("full") for one in found.candidates)


def test_more_time_goes_on_with_the_same_advice_and_other_candidates_are_another_one(tmp_path: Path) -> None:
    given = [*SMALL, f"outputs={tmp_path}", "advise.rates=[0.1]"]
    names = [make_inquiry([*given, more], None).name for more in ("advise.within=1h", "advise.within=9s", "epochs=5")]
    assert names[0] == names[1] != names[2]
    assert make_inquiry([*given, "advise.name=mine"], None).name == "mine"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("++advise.candidates.full={nothing: {}}", "freeze"),
        ("advise.candidates.full=7", r"advise\.candidates\.full: 7 is neither a name"),
        ("++advise.candidates.full={full: {data.size: 3}}", r"advise\.candidates\.full: data\.size is no option"),
        ("advise.rates=[]", r"advise\.rates: \[\] is empty"),
        ("advise.rates=[0.1,0.1]", "holds a rate twice"),
        ("advise.within=never", r"advise\.within: 'never' is no time"),
        ("advise.name=a/b", r"advise\.name: 'a/b' is no folder's name"),
        ("seed=1,2", "seed: advice is about one set and network"),
        ("test=false", "test: the answer is tested"),
        ("advise.least=-1", r"advise\.least"),
        ("advise.seeds=0", r"advise\.seeds"),
        ("advise.nothing=1", r"nothing"),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_inquiry([*SMALL, f"outputs={tmp_path}", override], None)


def test_two_names_for_the_same_run_are_refused(tmp_path: Path) -> None:
    twice = "+advise.candidates.again={full: {}}"
    with pytest.raises(UserError, match="full at 0.001 and again at 0.001 are the same run"):
        make_inquiry([*SMALL, f"outputs={tmp_path}", twice], None)


def test_an_answer_is_the_trial_with_its_test_and_another_run(tmp_path: Path) -> None:
    one = make_inquiry([*SMALL, f"outputs={tmp_path}"], None).candidates[-1]
    trial, answer, short = one.make_trial(0), one.make_answer(0, None), one.make_answer(0, 2)
    assert len({trial.id, answer.id, short.id}) == 3
    assert answer.config.test and not answer.config.judged and short.config.stop_after == 2
    assert trial.config.stop_after is None


def test_who_cannot_be_run_is_left_out_by_name_and_the_rate_of_what_is_solved_plays_no_part(tmp_path: Path) -> None:
    found = make_inquiry([*SMALL, f"outputs={tmp_path}", "advise.rates=[0.1,0.2]"], None)
    said: list[str] = []
    facts = [
        {"error": None, "stepped": not one.name.startswith("joined at")}
        if not one.name.startswith("full")
        else {"error": "no such thing"}
        for one in found.candidates
    ]
    there = [one.name for _, one in divide_candidates(found.candidates, facts, said.append)]
    assert there.count("joined") == 1 and "joined at 0.2" not in there and "mix at 0.2" in there
    assert said == ["left out: full: no such thing"]
    with pytest.raises(UserError, match="none of them can be run; no such thing"):
        divide_candidates(found.candidates, [{"error": "no such thing"}] * len(facts), said.append)
