"""How a run stands: from where to where its score may lie by the chance of the validation samples."""

import numpy as np
import pytest

from frostline.advice.standing import Standing
from frostline.intervals import share_interval
from frostline.tasks.declarations import MULTICLASS, REGRESSION

ACCURACY, ERROR = MULTICLASS.metric("accuracy"), REGRESSION.metric("mae")


def standing(parts: list[float], value: float | None, is_mean: bool = True) -> Standing:
    values = {} if value is None else {0: value}
    return Standing(len(values), values, values, np.asarray(parts), is_mean, {})


def test_a_share_has_its_own_interval_and_a_width_where_all_are_right() -> None:
    found = standing([1.0] * 50, 1.0).find_interval(ACCURACY, 0.9)
    assert found is not None and found == share_interval(50, 50, 0.9) and found.low < 0.96


def test_a_mean_reaches_to_either_side_and_not_beyond_what_there_is() -> None:
    found = standing([1.0, 3.0] * 50, 2.0).find_interval(ERROR, 0.9)
    assert found is not None and found.high - 2.0 == pytest.approx(2.0 - found.low) == pytest.approx(0.1653, abs=1e-3)
    near = standing([0.0, 0.02, 5.0, 0.01], 1.2).find_interval(ERROR, 0.9)
    assert near is not None and near.low == 0.0


def test_what_is_no_mean_is_judged_by_leaving_groups_out() -> None:
    """The jackknife of a mean of n, left out one by one, has the mean's own standard error."""
    samples = np.array([0.2, 0.9, 0.4, 0.7])
    without = [(samples.sum() - one) / 3 for one in samples]
    found = standing(without, float(samples.mean()), is_mean=False).find_interval(ACCURACY, 0.9)
    assert found is not None
    assert found.high - samples.mean() == pytest.approx(1.645 * samples.std(ddof=1) / 2, rel=1e-3)


@pytest.mark.parametrize(("parts", "value"), [([], 0.5), ([1.0], 1.0), ([1.0, 0.0], None)])
def test_without_samples_or_a_score_there_is_none(parts: list[float], value: float | None) -> None:
    assert standing(parts, value).find_interval(ACCURACY, 0.9) is None
