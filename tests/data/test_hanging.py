"""Data-loading processes that hang: the run ends within a bound, and nothing of them stays."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.configs import make
from torch import Tensor, nn

from frostline.config.compose import compose, resolve
from frostline.data.image.datasets import ImageFolder
from frostline.data.inputs import Pixels
from frostline.errors import UserError
from frostline.processes.lifetime import kill_children
from frostline.results.store import run_id


class Stuck(nn.Module):
    """Waits for what never comes, and does not listen, as a read from a file server that is gone."""

    def forward(self, image: Tensor) -> Tensor:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
        return image


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    kill_children()
    assert not multiprocessing.active_children()


def stuck(photos: Path, preprocess: Pixels, **options: float) -> ImageFolder:
    return make(
        "data/imagefolder", root=str(photos), preprocess=preprocess, views=None, augment=Stuck(), workers=1, **options
    )


@pytest.mark.slow
def test_a_batch_that_does_not_come_ends_the_epoch_and_names_the_key(photos: Path, preprocess: Pixels) -> None:
    """Promises 28 and 36, in training, whose processes stay for all epochs, and in extraction."""
    data = stuck(photos, preprocess, timeout_s=1)
    loader = data.train_dataloader()
    assert loader.persistent_workers
    for batches in (iter(loader), data.serve_in_order("train", 1, 4)):
        began = time.monotonic()
        with pytest.raises(UserError, match=r"data\.timeout_s: no batch came .* \(data\.workers\) in 1 s"):
            next(batches)
        assert time.monotonic() - began < 20
        kill_children()


def test_the_bound_is_on_by_default_and_is_not_what_a_run_is(photos: Path, preprocess: Pixels, tmp_path: Path) -> None:
    assert stuck(photos, preprocess).train_dataloader().timeout == 300
    assert stuck(photos, preprocess, timeout_s=7.5).train_dataloader().timeout == 7.5
    ids = set()
    for value in ("300", "2.5", "null"):
        config = resolve(compose("run", [f"data.timeout_s={value}", f"outputs={tmp_path}"]))
        assert "timeout_s" in config.data
        ids.add(run_id(config))
    assert len(ids) == 1
    with pytest.raises(UserError, match=r"data\.timeout_s"):
        resolve(compose("run", ["data.timeout_s=0"]))


def test_other_errors_of_a_loader_stay_what_they_are(photos: Path, preprocess: Pixels) -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise RuntimeError("the transform is broken")

    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, views=None, augment=Broken(), workers=1)
    with pytest.raises(RuntimeError, match="the transform is broken"):
        next(iter(data.train_dataloader()))
    assert (
        len(list(make("data/imagefolder", root=str(photos), preprocess=preprocess, workers=1).train_dataloader())) > 0
    )
    assert torch.utils.data.get_worker_info() is None
