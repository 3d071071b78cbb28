"""Keyword arguments become overrides, whatever stands in their values."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.api.overrides import allowing_modules, make_overrides
from frostline.config.allow import list_allowed_modules
from frostline.config.compose import parse_overrides
from frostline.errors import UserError

WORDS = ("null", "true", "false", "nan", "inf")  # of Hydra's grammar
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True).filter(lambda name: name.lower() not in WORDS)
SINGLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SINGLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def plain(value: Any) -> Any:
    """Return what Hydra has read as plain values."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return getattr(value, "text", value)  # of a quoted text


@given(VALUES.filter(lambda value: not isinstance(value, dict)))
def test_a_value_is_read_as_it_was_given(value: Any) -> None:
    (text,) = make_overrides([], {"key": value})
    (one,) = parse_overrides([text])
    assert not one.is_sweep_override()
    assert plain(one.value()) == value


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
def test_a_mapping_sets_the_keys_below(values: dict[str, Any]) -> None:
    found = {
        str(one.key_or_group): plain(one.value()) for one in parse_overrides(make_overrides([], {"freeze": values}))
    }
    assert found == {f"freeze.{name}": value for name, value in values.items()}


def test_texts_come_first_and_keys_of_the_node_go_without_it() -> None:
    found = make_overrides(["data=a,b"], {"seeds": [0, 1], "seed": 3}, "compare", ("seeds",))
    assert found == ["data=a,b", "compare.seeds=[0,1]", "seed=3"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"freeze": {1}}, "freeze: set is invalid"),
        ({"a b": 1}, "'a b' is invalid"),
        ({"k": {"x=y": 1}}, "'k.x=y' is invalid"),
    ],
)
def test_what_is_no_key_and_no_value_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_overrides([], given)
    (one,) = parse_overrides(make_overrides([], {"x": math.inf}))
    assert one.value() == math.inf, "the config's checks refuse it"


def test_the_allow_list_is_wider_only_while_a_call_lasts() -> None:
    before = list_allowed_modules()
    with allowing_modules("mine.nets"):
        assert list_allowed_modules() == ("mine.nets",)
    assert list_allowed_modules() == before
    with pytest.raises(UserError, match="--allow"), allowing_modules(["os; rm"]):
        pass
    assert list_allowed_modules() == before
