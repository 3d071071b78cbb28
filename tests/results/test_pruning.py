"""Verdicts: a run waits for the word on its epoch, and for nothing else."""

import threading
import time
from pathlib import Path

import pytest

from frostline.results.pruning import await_decision, remove_decision, write_decision


@pytest.mark.parametrize("stop", [True, False])
def test_a_run_waits_for_the_word_on_its_epoch(tmp_path: Path, stop: bool) -> None:
    write_decision(tmp_path, 1, False)
    later = threading.Timer(0.2, write_decision, (tmp_path, 2, stop))
    later.start()
    began = time.monotonic()
    assert await_decision(tmp_path, 2, 20) is stop
    assert 0.15 < time.monotonic() - began < 10
    later.join()


def test_without_a_word_it_goes_on_after_a_while(tmp_path: Path) -> None:
    write_decision(tmp_path, 1, False)
    began = time.monotonic()
    assert await_decision(tmp_path, 2, 0.3) is False
    assert time.monotonic() - began >= 0.3


def test_a_late_word_to_stop_holds_and_what_was_said_of_a_run_before_does_not(tmp_path: Path) -> None:
    write_decision(tmp_path, 1, True)
    assert await_decision(tmp_path, 3, 0) is True
    assert await_decision(tmp_path, 0, 0) is False  # it is begun anew, and has not come so far
    remove_decision(tmp_path)
    remove_decision(tmp_path)
    assert await_decision(tmp_path, 3, 0) is False
