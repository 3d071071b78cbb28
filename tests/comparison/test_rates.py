"""Choosing a learning rate: the best on validation, flagged at the grid's edge, and honest when nothing ended."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.comparison.cells import Cell, make_design
from frostline.comparison.rates import choose_epochs, choose_rate, extend_grid
from frostline.tasks.declarations import MULTICLASS

ACCURACY = MULTICLASS.metric("accuracy")


@pytest.fixture(scope="module")
def cell() -> Cell:
    return make_design(["compare.strategies=[full]", "compare.seeds=[0]"], None).cells[0]


def record(accuracy: float, loss: float = 1.0, status: str = "done") -> dict[str, Any]:
    return {"status": status, "metrics": {"val": {"accuracy": accuracy, "loss": loss}}}


def test_the_best_on_validation_is_chosen(cell: Cell) -> None:
    found = choose_rate(cell, [(0.1, record(0.5)), (0.01, record(0.7)), (0.001, record(0.6))], ACCURACY)
    assert (found.lr, found.edge, found.why) == (0.01, None, None)


@pytest.mark.parametrize(("scores", "edge"), [((0.9, 0.8, 0.7), "low"), ((0.7, 0.8, 0.9), "high"), ((1, 2, 1), None)])
def test_a_best_at_an_end_is_flagged(cell: Cell, scores: tuple[float, ...], edge: str | None) -> None:
    trials = [(rate, record(score)) for rate, score in zip((0.001, 0.01, 0.1), scores, strict=True)]
    assert choose_rate(cell, trials, ACCURACY).edge == edge


def test_of_equals_the_least_loss_then_the_lowest_rate(cell: Cell) -> None:
    assert (
        choose_rate(cell, [(0.1, record(0.5, 0.9)), (0.2, record(0.5, 0.3)), (0.3, record(0.5, 0.8))], ACCURACY).lr
        == 0.2
    )
    assert choose_rate(cell, [(0.3, record(0.5)), (0.1, record(0.5)), (0.2, record(0.5))], ACCURACY).lr == 0.1


def test_a_metric_where_less_is_better(cell: Cell) -> None:
    assert (
        choose_rate(
            cell, [(0.1, record(0.1, 2.0)), (0.2, record(0.9, 1.0)), (0.3, record(0.5, 3.0))], MULTICLASS.metric("loss")
        ).lr
        == 0.2
    )


def test_a_trial_without_a_result_is_out(cell: Cell) -> None:
    trials = [(0.1, record(0.9, status="diverged")), (0.01, record(0.3)), (0.001, None)]
    assert choose_rate(cell, trials, ACCURACY).lr == 0.01
    nothing = choose_rate(cell, [(0.1, None), (0.2, record(1.0, status="failed"))], ACCURACY)
    assert nothing.lr == cell.lr
    assert nothing.why == "no trial came to an end"


@given(st.lists(st.integers(-60, 10), min_size=2, max_size=6, unique=True))
def test_the_next_rate_lies_beyond_the_grid(powers: list[int]) -> None:
    rates = [10 ** (power / 10) for power in powers]
    assert extend_grid(rates, "low") <= min(rates)
    assert extend_grid(rates, "high") >= max(rates)


def test_the_next_rate_keeps_the_grids_ratio() -> None:
    assert extend_grid([0.01, 0.001, 0.1], "high") == 1.0
    assert extend_grid([0.01, 0.001, 0.1], "low") == 0.0001


def test_a_budget_of_seconds_gives_so_many_epochs(cell: Cell) -> None:
    def spent(seconds: float, cache: float = 0.0) -> dict[str, Any]:
        return {"status": "done", "cost": {"seconds": seconds, "cache_seconds": cache}}

    assert cell.epochs == 10
    assert choose_epochs(cell, spent(20.0), 40.0, 1) == 20
    assert choose_epochs(cell, spent(25.0, cache=5.0), 40.0, 1) == 20
    assert choose_epochs(cell, spent(20.0), 1.0, 3) == 3
    assert choose_epochs(cell, spent(0.001), 1000.0, 1) == 500
    assert choose_epochs(cell, {"status": "failed"}, 40.0, 1) == 10
