"""What ranks exchange, on three real ones; and what is said where they are not alike."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from frostline import group as module
from frostline.config import compose, plain
from frostline.errors import UserError
from frostline.group import ALONE, Group, check_alike, check_shared, form
from frostline.ranks import by_address, place, variables

WORLD = 3


def exchange(rank: int, address: str) -> None:
    """Be one rank, and check what each function returns on it."""
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=WORLD)
    group = Group(rank, WORLD)
    assert group.leads == (rank == 0)
    assert group.total(torch.tensor([rank, 1])).tolist() == [3, WORLD]
    assert group.all(True) and not group.all(rank != 1)
    assert group.each({"rank": rank, "text": "x" * rank}) == [{"rank": n, "text": "x" * n} for n in range(WORLD)]
    assert group.first(f"of {rank}") == "of 0" and group.first(0.1 + 0.2) == 0.1 + 0.2
    own = torch.full((rank, 2), float(rank))  # the first rank has none
    assert group.rows(own).tolist() == [[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]
    assert group.rows(torch.zeros(0, 5)).shape == (0, 5)
    nothing = torch.empty(0, 0) if rank == 2 else torch.ones(1, 4)  # not even the width is known
    assert group.rows(nothing).shape == (2, 4)
    labels = group.rows(torch.arange(rank + 1))
    assert labels.tolist() == [0, 0, 1, 0, 1, 2] and labels.dtype == torch.int64
    weight = torch.full((2, 2), float(rank), requires_grad=True)
    group.copy(weight)
    assert weight.tolist() == [[0.0, 0.0], [0.0, 0.0]] and weight.requires_grad
    group.wait()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_three_ranks_exchange_text_and_tensors(tmp_path: Path) -> None:
    code = "import sys; from test_group import exchange; exchange(int(sys.argv[1]), sys.argv[2])"
    words = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ranks = [
        subprocess.Popen([*words, str(rank), f"file://{tmp_path}/meeting"], env=environment, stderr=subprocess.PIPE)
        for rank in range(WORLD)
    ]
    said = [rank.communicate(timeout=100)[1].decode()[-2000:] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * WORLD, said


def test_a_rank_alone_gets_back_what_it_gave() -> None:
    value = torch.arange(6).view(3, 2)
    assert ALONE.leads and ALONE.all(True) and not ALONE.all(False)
    assert torch.equal(ALONE.rows(value), value) and torch.equal(ALONE.total(value), value)
    assert ALONE.each({"a": 1}) == [{"a": 1}] and ALONE.first(None) is None


class Told(Group):
    """The first rank of two, told what the other one says."""

    def __init__(self, other: Any):
        super().__init__(0, 2)
        object.__setattr__(self, "other", other)

    def each(self, content: Any) -> list[Any]:
        return [content, self.other]  # type: ignore[attr-defined]

    def total(self, value: Tensor) -> Tensor:
        return value


def test_other_versions_on_another_node_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "n1")
    check_alike(Told({"host": "n2", "torch": "2.14.1"}), {"torch": "2.14.1"})
    with pytest.raises(UserError, match=r"torch is 2.14.1 on n1 \(rank 0\) but 2.13 on n2 \(rank 1\)"):
        check_alike(Told({"host": "n2", "torch": "2.13"}), {"torch": "2.14.1"})


def test_a_folder_that_a_node_does_not_share_is_said(tmp_path: Path) -> None:
    check_shared(Told(["n2", True]), tmp_path)
    with pytest.raises(UserError, match=r"outputs: .* on n2 is not the folder .* that all nodes share"):
        check_shared(Told(["n2", False]), tmp_path)
    assert not list(tmp_path.iterdir()), "the probe is removed"
    assert module._appears(tmp_path)


def config_of(*overrides: str) -> dict[str, Any]:
    return plain(compose("run", list(overrides)))


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **options)


def test_another_number_of_processes_than_devices_is_an_error() -> None:
    assert form(trainer(), config_of()) is ALONE
    with pytest.raises(UserError, match=r"trainer.devices x trainer.num_nodes is 2, but 1 processes were started"):
        form(trainer(), config_of("trainer=ddp_cpu"))


def test_a_port_in_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in variables("run", 0, 0, 2, 2, 0, by_address("127.0.0.1", port)).items():
            monkeypatch.setenv(name, value)
        here = place()
        assert here is not None and (here.rank, here.world) == (0, 2)
        with pytest.raises(UserError, match=rf"trainer.num_nodes: the ranks cannot meet at 127.0.0.1:{port}"):
            form(trainer(devices=2, strategy="ddp", plugins=[module.environment()]), config_of("trainer=ddp_cpu"))


@pytest.mark.parametrize("value", ["auto", "-1", "[0,1]", "0"])
def test_devices_are_counted(value: str) -> None:
    with pytest.raises(UserError, match="trainer.devices: .*CUDA_VISIBLE_DEVICES"):
        config_of(f"trainer.devices={value}")
