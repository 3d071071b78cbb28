"""Variables of this process come back as they were, whatever was done to them."""

import os

import pytest

from frostline.processes.environment import replace_environment, restoring_environment, restoring_variables


def test_variables_come_back_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROSTLINE_TEST_SET", "before")
    monkeypatch.delenv("FROSTLINE_TEST_UNSET", raising=False)
    monkeypatch.setenv("FROSTLINE_TEST_OTHER", "before")
    with pytest.raises(KeyError), restoring_variables("FROSTLINE_TEST_SET", "FROSTLINE_TEST_UNSET"):
        del os.environ["FROSTLINE_TEST_SET"]
        os.environ["FROSTLINE_TEST_UNSET"] = os.environ["FROSTLINE_TEST_OTHER"] = "meanwhile"
        raise KeyError
    assert os.environ["FROSTLINE_TEST_SET"] == "before"
    assert "FROSTLINE_TEST_UNSET" not in os.environ
    assert os.environ["FROSTLINE_TEST_OTHER"] == "meanwhile"


def test_an_environment_is_replaced_whole_and_comes_back() -> None:
    before = dict(os.environ)
    with restoring_environment():
        replace_environment({"FROSTLINE_TEST_SET": "alone"})
        assert dict(os.environ) == {"FROSTLINE_TEST_SET": "alone"}
    assert dict(os.environ) == before
