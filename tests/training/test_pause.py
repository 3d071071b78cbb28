"""What is kept of a run that is stopped inside an epoch."""

import pytest
import torch

from frostline.ranks.collectives import ALONE
from frostline.training.pause import collect_random_states, set_random_state


def test_a_run_on_processors_asks_nothing_of_a_gpu_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take hundreds of megabytes there, and raise where the driver is too old."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (state,) = collect_random_states(ALONE)
    expected = torch.rand(3)
    set_random_state(state)
    assert list(state) == ["cpu"] and torch.equal(torch.rand(3), expected)
