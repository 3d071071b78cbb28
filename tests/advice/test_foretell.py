"""What is foretold: less the more is done, and a chance that follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.advice.foretell import LEFT, foretell_outlook, foretell_ratio, interpolate


def test_the_more_is_done_the_less_is_left_to_gain_and_the_surer_it_is() -> None:
    rows = [foretell_ratio(share / 20) for share in range(2, 21)]
    assert rows == sorted(rows, key=lambda row: row[0]) and rows[-1] == (0.0, 0.0)
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)


@pytest.mark.parametrize("share", sorted(LEFT))
def test_the_table_is_met_where_it_has_a_place(share: float) -> None:
    assert interpolate(share) == pytest.approx(LEFT[share])


def test_a_sure_candidate_wins_or_does_not() -> None:
    sure = foretell_outlook(0.1, 0.2, (0.0, 0.0), 1e-6, 0.005)
    assert sure.chance == pytest.approx(1.0) and sure.gain == pytest.approx(0.1)
    lost = foretell_outlook(0.3, 0.2, (0.0, 0.0), 1e-6, 0.005)
    assert lost.chance == pytest.approx(0.0) and lost.gain == pytest.approx(0.0)


def test_a_gain_below_what_matters_is_no_win() -> None:
    found = foretell_outlook(0.198, 0.2, (0.0, 0.0), 1e-6, 0.005)
    assert found.chance == pytest.approx(0.0) and found.gain == pytest.approx(0.002)


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.floats(0.0, 1.0), st.floats(0.001, 0.1))
def test_chances_are_shares_and_gains_are_not_negative(error: float, best: float, share: float, noise: float) -> None:
    found = foretell_outlook(error, best, foretell_ratio(share), noise, 0.005)
    assert 0 <= found.chance <= 1 and found.gain >= 0


@given(st.floats(0.05, 0.9), st.floats(0.001, 0.1))
def test_the_lower_the_error_the_better_the_outlook(error: float, noise: float) -> None:
    one, other = (foretell_outlook(value, 0.3, foretell_ratio(0.5), noise, 0.005) for value in (error, error * 0.9))
    assert one.chance <= other.chance + 1e-9 and one.gain <= other.gain + 1e-9
