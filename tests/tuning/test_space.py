"""The space: what is said of each key, where mistakes would show, and every point of a grid."""

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.config.compose import parse_overrides
from frostline.errors import UserError
from frostline.tuning.space import Space, make_space

SPACE = {
    "freeze": ["linear_probe", "last_k", "full"],
    "freeze.k": {"int": [1, 3], "when": {"freeze": "last_k"}},
    "optimizer.lr": {"log": [1e-4, 1e-1], "when": {"freeze": ["last_k", "full"]}},
    "data.batch_size": [16, 32],
}


def space(node: Any, *swept: str) -> Space:
    return make_space(node, parse_overrides(list(swept)), None)


def test_corners_hold_every_choice_and_end_with_what_it_needs() -> None:
    found = space(SPACE)
    corners = found.corners()
    for one in found.parameters:
        assert {str(corner[one.key]) for corner in corners if one.key in corner} == {str(end) for end in one.ends()}
    for corner in corners:
        assert ("freeze.k" in corner) == (corner["freeze"] == "last_k")
        assert ("optimizer.lr" in corner) == (corner["freeze"] != "linear_probe")


def test_a_grid_has_every_point_once_and_conditional_keys_only_where_they_are() -> None:
    grid = space({**SPACE, "optimizer.lr": [0.1, 0.2]}).grid()
    assert len(grid) == len({str(one) for one in grid}) == (1 + 3 + 1) * 2 * 2
    assert all(("freeze.k" in one) == (one["freeze"] == "last_k") for one in grid)
    steps = space({"head.dropout": {"float": [0, 0.3], "step": 0.1}}).grid()
    assert [one["head.dropout"] for one in steps] == [0.0, 0.1, 0.2, 0.3]
    with pytest.raises(UserError, match="optimizer.lr.*a grid takes"):
        space(SPACE).grid()


@given(st.integers(0, 2**31))
def test_a_trial_is_asked_the_same_again_and_written_as_overrides(seed: int) -> None:
    found = space(SPACE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    point = found.point(trial)
    assert found.point(trial) == point
    for override in parse_overrides(found.overrides(point)):
        said, value = override.value(), point[override.key_or_group]
        assert said == pytest.approx(value, rel=1e-5) if isinstance(value, float) else str(said) == str(value)


def test_overrides_that_sweep_are_a_space() -> None:
    sweeps = ("freeze=full,lp_ft", "optimizer.lr=tag(log,interval(1e-5,1e-2))", "freeze.k=int(interval(1,4))")
    found = {one.key: one for one in space(None, *sweeps).parameters}
    assert found["freeze"].choices == ["full", "lp_ft"]
    assert found["optimizer.lr"].log and (found["optimizer.lr"].low, found["optimizer.lr"].high) == (1e-5, 1e-2)
    assert found["freeze.k"].whole and found["freeze.k"].high == 4


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({}, "tune.space: it is empty"),
        (["optimizer.lr"], "tune.space: .*expected keys"),
        ({"optimizer.lr": 0.1}, "optimizer.lr: 0.1 is invalid"),
        ({"optimizer.lr": {"log": [0, 1]}}, "optimizer.lr.log: .*no range"),
        ({"optimizer.lr": {"log": [1, 0.1]}}, "no range"),
        ({"optimizer.lr": {"log": ["a", "b"]}}, "no range"),
        ({"optimizer.lr": {"lin": [0, 1]}}, "is invalid"),
        ({"optimizer.lr": {"log": [0.1, 1], "int": [1, 2]}}, "is invalid"),
        ({"freeze.k": {"int": [1, 2.5]}}, "two whole numbers"),
        ({"freeze.k": {"int": [1, 4], "step": 0.5}}, "freeze.k.step"),
        ({"optimizer.lr": {"log": [0.1, 1], "step": 0.1}}, "optimizer.lr.step"),
        ({"freeze": []}, "different choices"),
        ({"freeze": ["full", "full"]}, "different choices"),
        ({"freeze": [{"last_k": {"k": 1}}]}, "options as keys of their own"),
        ({"seed": [0, 1]}, "seed: it cannot be searched"),
        ({"launcher.workers": [1, 2]}, "cannot be searched"),
        ({"tune.trials": [1, 2]}, "cannot be searched"),
        ({"hydra.run.dir": ["a", "b"]}, "cannot be searched"),
        ({"freeze.k": {"int": [1, 3], "when": {"freeze": "last_k"}}, "freeze": ["last_k"]}, "expected a key above it"),
        ({"freeze": ["full"], "freeze.k": {"int": [1, 3], "when": {"freeze": "last_k"}}}, "has the choices last_k"),
        ({f"a{place}": {"int": [1, 10]} for place in range(5)}, None),
    ],
)
def test_mistakes_name_the_key(node: Any, words: str | None) -> None:
    if words is None:
        with pytest.raises(UserError, match="more than 10,000 points"):
            space(node).grid()
        return
    with pytest.raises(UserError, match=words):
        space(node)


def test_a_key_is_searched_once() -> None:
    with pytest.raises(UserError, match="optimizer.lr: it is searched twice"):
        space({"optimizer.lr": [0.1, 0.2]}, "optimizer.lr=0.1,0.3")
