"""The answer: what to expect of the best although it was picked, and which price buys what."""

import numpy as np
import pytest
from tests.advice.races import race, racer

from frostline.advice.answer import LEVEL, expect_score, list_alike, list_open
from frostline.results.prices import list_prices
from frostline.tasks.declarations import MULTICLASS, Metric

ACCURACY = MULTICLASS.metric("accuracy")
ERROR = Metric("error", lower_is_better=True, low=0.0)


def draw(generator: np.random.Generator, chances: list[float], count: int) -> dict[str, np.ndarray]:
    """Return which of so many samples each candidate gets right, by its chance of each."""
    return {str(place): (generator.random(count) < chance).astype(float) for place, chance in enumerate(chances)}


def test_the_best_of_many_that_are_alike_is_not_expected_to_be_as_good_as_it_looks() -> None:
    parts = draw(np.random.default_rng(0), [0.7] * 20, 60)
    looks = max(float(values.mean()) for values in parts.values())
    expected = expect_score(parts, ACCURACY, 200)
    assert expected is not None and expected.value < looks - 0.05
    assert expected.interval.low < 0.7 < expected.interval.high


@pytest.mark.parametrize(("candidates", "count"), [(1, 100), (8, 200)])
def test_statements_come_true_as_often_as_they_say(candidates: int, count: int) -> None:
    """Of 60 times, with candidates between 0.75 and 0.85, the score on 300 other samples."""
    generator, true, times = np.random.default_rng(1), 0, 60
    for _ in range(times):
        chances = list(generator.uniform(0.75, 0.85, candidates))
        parts = draw(generator, chances, count)
        best = max(range(candidates), key=lambda place: parts[str(place)].mean())
        test = float((generator.random(300) < chances[best]).mean())
        expected = expect_score(parts, ACCURACY, 300)
        assert expected is not None
        true += expected.interval.low <= test <= expected.interval.high
    assert 0.8 <= true / times <= 1.0, f"{true} of {times} at {LEVEL}"


def test_where_all_are_right_nothing_is_certain() -> None:
    expected = expect_score({"one": np.ones(50)}, ACCURACY, 50)
    assert expected is not None and expected.value == 1.0
    assert expected.interval.low < 0.97 and expected.interval.high == 1.0


def test_of_numbers_the_interval_is_of_their_mean() -> None:
    errors = np.random.default_rng(0).gamma(2.0, 1.0, 200)
    expected = expect_score({"one": errors, "worse": errors + 1}, ERROR, 200)
    assert expected is not None and expected.value == pytest.approx(errors.mean(), abs=0.05)
    assert 0.1 < expected.interval.high - expected.value < 0.4


@pytest.mark.parametrize("parts", [{}, {"one": np.empty(0)}, {"one": np.ones(3)}, {"a": np.ones(9), "b": np.ones(8)}])
def test_of_too_little_nothing_is_expected(parts: dict[str, np.ndarray]) -> None:
    assert expect_score(parts, ACCURACY, 100) is None


def test_who_is_within_the_noise_is_alike_and_the_leader_comes_first() -> None:
    there = race(racer("far", 10, 0.3), racer("near", 10, 0.21), racer("leader", 10, 0.2), racer("nothing"))
    assert [one.name for one in list_alike(there)] == ["leader", "near"]
    assert list_alike(race(racer("nothing"))) == []


def test_a_price_buys_what_no_cheaper_one_does() -> None:
    rows = [
        {"name": name, "seconds": seconds, "value": value}
        for name, seconds, value in [("c", 30.0, 0.8), ("a", 1.0, 0.5), ("b", 9.0, 0.9), ("d", 0.0, None)]
    ]
    assert [row["name"] for row in list_prices(rows, 1)] == ["a", "b"]
    assert [row["name"] for row in list_prices(rows, -1)] == ["a"]


def test_who_might_still_win_stands_with_what_it_takes() -> None:
    there = race(racer("leader", 10, 0.2), racer("hopeless", 9, 0.5), racer("open", 2, 0.2), racer("out", out="why"))
    assert [(one.name, seconds) for one, seconds, _ in list_open(there)] == [("open", 82.0)]
    assert list_open(race(racer("nothing"))) == []
