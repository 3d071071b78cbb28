"""What an advice says: the answer, who is as good, what to collect, what more time buys."""

from pathlib import Path
from typing import Any

import pytest
from tests.advice_contents import SCORES, make_advice_content, make_answer, make_trial

from frostline.report.page.advice.words import (
    describe_entry,
    find_least,
    group_names,
    is_settled,
    list_others,
    round_up,
    say_what_time_buys,
    say_what_to_collect,
    write_verdict,
)
from frostline.report.read.advice import Advice


def advice(**more: Any) -> Advice:
    return Advice(Path("outputs/advice/toy"), make_advice_content(**more))


def test_the_first_line_says_what_to_freeze_what_to_expect_and_what_the_test_said() -> None:
    first = write_verdict(advice(alike={})).split("\n")[0]
    assert first == (
        "Freeze the whole network, and train a linear head on all its depths joined (joined). Expect a test accuracy "
        "of 0.935 [0.905, 0.965], 90% sure; the test, looked at once, said 0.950, which is inside."
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"test": 0.99}, "said 0.990, which is outside."),
        ({"test": None}, "90% sure; the test has no result."),
        ({"expected": None}, "what to expect elsewhere is not known. The test said 0.950."),
        ({"expected": None, "test": None}, "what to expect elsewhere is not known. It has not been tested."),
        ({"epochs": 4}, "(joined, 4 of 10 epochs)."),
    ],
)
def test_what_is_not_known_is_said(more: dict[str, Any], said: str) -> None:
    answer = make_answer({}, SCORES, **more)
    assert said in write_verdict(advice(answer=answer)).split("\n")[0]


def test_those_that_cannot_be_told_apart_are_named_with_what_to_collect() -> None:
    found = advice()
    lines = write_verdict(found).split("\n")
    assert lines[0] == (
        "Cannot tell which is best: the 100 validation samples do not tell joined and last at 0.001 apart."
    )
    assert lines[1].startswith("The best of these so far: Freeze the whole network")
    # an interval reaches 1.645 * 0.02 now; to reach 0.005 it takes (1.645 * 0.02 / 0.005)^2 = 43.3 times the samples
    assert lines[2] == (
        "To tell a difference of 0.005 takes about 4,400 validation samples like these, and there are 100: collect "
        "about 4,300 more, or take the cheapest."
    )


def test_those_that_differ_by_less_than_matters_are_as_good() -> None:
    found = advice(scores={"joined": 0.94, "last": 0.94}, alike={"last": 0.002})
    assert list_others(found) == ["last at 0.001"] and is_settled(found)
    first, second, _ = write_verdict(found).split("\n")
    assert first.startswith("Freeze the whole network") and "take whichever is cheapest or simplest" in second
    assert not is_settled(advice(scores={"joined": 0.94, "last": 0.944}, alike={"last": 0.002}))


def test_with_enough_samples_it_is_seeds_that_may_tell() -> None:
    assert "more seeds" in say_what_to_collect(advice(scores={"joined": 0.94, "last": 0.95}, alike={"last": 0.002}))
    unknown = make_answer({"last": 0.0}, SCORES)
    assert "collect more, or take the cheapest" in say_what_to_collect(advice(answer=unknown))


def test_what_more_time_buys_names_who_is_open() -> None:
    assert say_what_time_buys(advice()) == (
        "Not run to the end, and each up to 25% likely to be better by more than 0.005: full at 0.001. "
        "About 5 min 10 s more would tell."
    )
    rows = [{"name": f"{name} at {rate}", "seconds": 60.0, "chance": 0.2} for name in "ab" for rate in (0.1, 0.2)]
    several = say_what_time_buys(advice(answer=make_answer({}, SCORES, open=rows)))
    assert "a at 0.1 and 0.2 and b at 0.1 and 0.2" in several and "4 min 00 s of all 4" in several
    assert "more time would buy little" in say_what_time_buys(advice(answer=make_answer({}, SCORES, open=[])))


def test_without_an_answer_it_says_why() -> None:
    failed = [make_trial("last", None, out="diverged: the loss is NaN")]
    lines = write_verdict(advice(answered=False, trials=failed)).split("\n")
    assert lines[0] == "There is no answer: no candidate came to a result within 1 min 40 s."
    assert "last at 0.001: diverged: the loss is NaN" in lines[1] and "was foretold to take" in lines[2]
    wrong = {"data": {}, "runs": [{"error": "data: there is one class only."}]}
    nobody = advice(answered=False, trials=[], moves=[], found=wrong)
    assert write_verdict(nobody).split("\n")[1:] == ["Not run: data: there is one class only."]
    late = write_verdict(advice(answered=False, trials=[], moves=[])).split("\n")
    assert late[1].startswith("Nothing was begun") and len(late) == 2


def test_before_the_test_it_says_what_is_best_so_far() -> None:
    lines = write_verdict(advice(answered=False)).split("\n")
    assert lines[0].endswith("nothing was tested. Best so far is joined, validation accuracy 0.940.")
    assert lines[1] == "The same command goes on from here."


def test_of_an_error_what_matters_is_a_share_of_the_best_one() -> None:
    errors = {"joined": 2.0, "last": 2.2}
    found = advice(scores=errors, metric="rmse", lower_is_better=True, alike={"last": 0.001})
    assert find_least(found) == pytest.approx(0.01) and is_settled(found)
    assert found.ranked[0]["name"] == "joined" and "test RMSE" in write_verdict(found)
    assert is_settled(advice(scores={"joined": 2.2, "last": 2.0}, metric="rmse", lower_is_better=True)) is False


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"last_k": {"k": 1}}, "Freeze all but its last group, and train this with the head"),
        ({"last_k": {"k": 3, "optimizer.lr": 0.1}}, "Freeze all but its last 3 groups, and train these with the head"),
        (
            {"lp_ft": {"k": 1, "head": "taps"}},
            "Train a linear head on all its depths joined on the frozen network first, then its last group with it, "
            "the rest frozen",
        ),
        ({"lp_ft": {}}, "Train the head on the frozen network first, then the whole network with it"),
        ({"linear_probe": {}}, "Freeze the whole network, and train its head alone"),
        ({"linear_probe": {"head": "mine"}}, "Freeze the whole network, and train a head of kind mine"),
        ({"mine": {}}, ""),
        ({}, ""),
    ],
)
def test_a_strategy_is_said_in_words(entry: dict[str, Any], said: str) -> None:
    assert describe_entry(entry) == said


def test_names_and_counts_are_those_of_a_person() -> None:
    assert group_names(["a at 0.1", "joined", "a at 0.2"]) == ["a at 0.1 and 0.2", "joined"]
    assert [round_up(count) for count in (0, 7, 1234, 4328.9)] == [0, 7, 1300, 4400]
