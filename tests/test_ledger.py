"""The ledger: what belongs to this run alone."""

import pytest
import torch

from frostline.ledger import forget_peak_memory, peak_memory


def test_the_peak_is_of_this_run_even_in_a_warm_process() -> None:
    forget_peak_memory()
    before = peak_memory()
    blocks = [torch.ones(10_000) for _ in range(5000)]  # 200 MB in pieces that the C library would keep
    high = peak_memory()
    blocks.clear()
    forget_peak_memory()
    if peak_memory() == high:
        pytest.skip("this system does not let a process reset its peak")
    assert high > before + 150e6
    assert peak_memory() < before + 50e6
