"""Decisions: a run waits for the word on its epoch, and for nothing else."""

import threading
import time
from pathlib import Path

import pytest

from frostline.files.decisions import DECISION, Decision, await_decision, remove_decision, write_decision

GO_ON, PAUSE, STOP = Decision.GO_ON, Decision.PAUSE, Decision.STOP


@pytest.mark.parametrize("decision", Decision)
def test_a_run_waits_for_the_word_on_its_epoch(tmp_path: Path, decision: Decision) -> None:
    write_decision(tmp_path, 1, GO_ON)
    later = threading.Timer(0.2, write_decision, (tmp_path, 2, decision))
    later.start()
    began = time.monotonic()
    assert await_decision(tmp_path, 2, 20) is decision
    assert 0.15 < time.monotonic() - began < 10
    later.join()


def test_without_a_word_it_goes_on_after_a_while(tmp_path: Path) -> None:
    write_decision(tmp_path, 1, GO_ON)
    began = time.monotonic()
    assert await_decision(tmp_path, 2, 0.3) is GO_ON
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("decision", [PAUSE, STOP])
def test_until_the_epoch_of_a_decision_a_run_goes_on_and_does_not_wait(tmp_path: Path, decision: Decision) -> None:
    write_decision(tmp_path, 3, decision)
    began = time.monotonic()
    assert [await_decision(tmp_path, epoch, 20) for epoch in range(5)] == 3 * [GO_ON] + 2 * [decision]
    assert time.monotonic() - began < 10


def test_what_was_said_of_a_run_before_is_forgotten(tmp_path: Path) -> None:
    write_decision(tmp_path, 1, STOP)
    remove_decision(tmp_path)
    remove_decision(tmp_path)
    assert await_decision(tmp_path, 3, 0) is GO_ON


@pytest.mark.parametrize("text", ["", "{}", '{"epoch": 0, "then": "explode"}', '{"epoch": "0", "then": "stop"}', "[]"])
def test_a_file_that_is_no_decision_decides_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / DECISION).write_text(text)
    assert await_decision(tmp_path, 0, 0) is GO_ON
