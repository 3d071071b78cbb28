"""What a task declares: which values a score may have, which are better, and the same read back from a record."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.files.shapes import check_shape
from frostline.tasks.declarations import DECLARATIONS, METRICS, SHAPE, Declaration, Metric, find_declaration

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


@every_metric
def test_a_better_score_beats_a_worse_one_and_nan_nothing(metric: Metric) -> None:
    worse, better = (0.2, 0.1) if metric.lower_is_better else (0.1, 0.2)
    assert metric.beats(better, worse) and not metric.beats(worse, better) and not metric.beats(worse, worse)
    assert metric.beats(worse, None)
    assert metric.beats(worse, math.nan), "what is no number is beaten by any number"
    assert not any(metric.beats(math.nan, old) for old in (None, worse, math.nan))


def test_errors_are_better_when_lower() -> None:
    lower = {name for name, metric in METRICS.items() if metric.lower_is_better}
    assert lower == {"loss", "calibration_error", "rmse", "mae", "wer", "cer"}


def test_a_name_means_the_same_in_each_task() -> None:
    assert all(METRICS[metric.name] == metric for one in DECLARATIONS.values() for metric in one.metrics)


@every_metric
def test_differences_have_the_bounds_that_follow(metric: Metric) -> None:
    low, high = metric.bounds
    assert low < high and metric.difference_bounds == (-(high - low), high - low)


metrics = st.builds(
    Metric,
    st.text(min_size=1),
    st.text(min_size=1),
    st.booleans(),
    st.floats(max_value=0.0, allow_nan=False),
    st.floats(min_value=1.0, allow_nan=False),
)


@given(metrics, st.sampled_from(["classes", None]))
def test_a_declaration_is_read_back_from_json(metric: Metric, predictions: str | None) -> None:
    one = Declaration("mine", (metric,), "loss", predictions)  # type: ignore[arg-type]
    plain = json.loads(json.dumps(one.plain(), allow_nan=False))
    check_shape(plain, SHAPE, "declaration")
    assert Declaration.read(plain) == one


def test_a_form_of_predictions_that_is_not_known_is_none() -> None:
    plain = DECLARATIONS["ctc"].plain() | {"predictions": "haiku"}
    assert Declaration.read(plain).predictions is None


def test_tasks_are_found_by_their_targets() -> None:
    assert find_declaration("frostline.tasks.ctc.Ctc") is DECLARATIONS["ctc"]
    assert find_declaration("mine.Ctc") is None


def test_of_a_score_that_is_not_declared_only_the_name_is_known() -> None:
    assert DECLARATIONS["ctc"].metric("sharp_turns") == Metric("sharp_turns", "sharp turns")
