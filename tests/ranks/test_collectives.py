"""What ranks exchange, on three real ones; and what is said where they are not alike."""

import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed
from torch._C._distributed_c10d import HashStore

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.ranks import collectives as module
from frostline.ranks.collectives import ALONE, FOREVER, Ranks, check_alike, check_shared, form_ranks, open_channel
from frostline.ranks.place import find_loopback, find_place, meet_by_address, meet_by_file, rank_variables

WORLD = 3


def join(rank: int, meeting: str, timeout: float) -> Ranks:
    """Become one of the ranks whose collectives of training have so many seconds."""
    os.environ |= rank_variables("run", rank, rank, WORLD, WORLD, 0, meeting)
    limit = timedelta(seconds=timeout)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=limit)
    one = trainer(devices=WORLD, strategy=strategy, plugins=[module.make_cluster_environment()])
    return form_ranks(one, config_of("trainer=ddp_cpu", f"trainer.devices={WORLD}"), limit)


def exchange(rank: int, meeting: str) -> None:
    """Be one rank, and check what each function returns on it."""
    group = join(rank, meeting, 60)
    assert group.leads == (rank == 0)
    assert group.add_up(torch.tensor([rank, 1])).tolist() == [3, WORLD]
    assert group.holds_everywhere(True) and not group.holds_everywhere(rank != 1)
    assert group.gather_values({"rank": rank, "text": "x" * rank}) == [
        {"rank": n, "text": "x" * n} for n in range(WORLD)
    ]
    assert group.take_first(f"of {rank}") == "of 0" and group.take_first(0.1 + 0.2) == 0.1 + 0.2
    assert group.gather_tensors(torch.full((2, 1), bool(rank))).tolist() == [[False]] * 2 + [[True]] * 4
    assert group.gather_tensors(torch.zeros(0, 3)).shape == (0, 3)
    check_rows(group)
    check_copy(group)
    group.wait()


def check_rows(group: Ranks) -> None:
    """Rows come to rank 0 alone, whoever has some."""
    rank = group.rank

    def gathered(value: Tensor) -> Tensor:
        found = group.gather_rows(value)
        assert rank == 0 or (len(found) == 0 and found.dtype == value.dtype)
        return group.take_first([found.tolist(), str(found.dtype)])

    own = torch.full((rank, 2), float(rank))  # the first rank has none
    assert gathered(own) == [[[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]], "torch.float32"]
    assert gathered(torch.zeros(0, 5)) == [[], "torch.float32"]
    nothing = torch.empty(0, 0) if rank == 0 else torch.ones(1, 4, dtype=torch.bfloat16)  # neither width nor dtype
    assert gathered(nothing) == [[[1.0] * 4] * 2, "torch.bfloat16"]
    assert gathered(torch.arange(rank + 1)) == [[0, 0, 1, 0, 1, 2], "torch.int64"]
    turned = torch.arange(6).view(3, 2).T + 10 * rank  # not laid out row by row
    assert gathered(turned)[0] == [
        [place + 10 * n, place + 2 + 10 * n, place + 4 + 10 * n] for n in range(WORLD) for place in (0, 1)
    ]


def check_copy(group: Ranks) -> None:
    """What is overwritten stays what it was, dtype and layout too, on every rank in its own."""
    expected = torch.arange(24.0).view(1, 2, 3, 4)
    layout = torch.channels_last if group.rank == 1 else torch.contiguous_format
    weight = (expected + group.rank).contiguous(memory_format=layout).requires_grad_()
    small = [
        torch.tensor(group.rank == 0),
        torch.tensor(7 - group.rank),
        torch.full((3,), group.rank, dtype=torch.half),
    ]
    every_second = torch.full((4, 2), float(group.rank))[:, 1]
    strides = [tensor.stride() for tensor in (weight, *small, every_second)]
    group.copy(small[0], weight, *small[1:], every_second)
    assert torch.equal(weight, expected) and weight.requires_grad and weight.is_leaf
    assert [tensor.tolist() for tensor in small] == [True, 7, [0, 0, 0]] and small[2].dtype == torch.half
    assert every_second.tolist() == [0.0] * 4
    assert [tensor.stride() for tensor in (weight, *small, every_second)] == strides


SHORT_S, LONG_S = 6, 8


def wait_long(rank: int, meeting: str) -> None:
    """Let rank 0 work alone for longer than a collective of training may take."""
    here = Path(meeting.removeprefix("file://")).parent  # a busy machine starts them one after the other
    (here / f"{rank} is here").touch()
    while len(list(here.glob("* is here"))) < WORLD:
        time.sleep(0.01)
    group = join(rank, meeting, SHORT_S)
    for exchange in (group.wait, lambda: group.copy(torch.ones(2)), lambda: group.gather_rows(torch.ones(2, 3))):
        if group.leads:
            time.sleep(LONG_S)
        exchange()
    if group.leads:
        time.sleep(LONG_S + SHORT_S)
        return
    with pytest.raises(RuntimeError, match="timed out"):  # in a step nobody is waited for as long
        group.holds_everywhere(True, group.step_patience)
    with pytest.raises(RuntimeError, match="Timed out|Connection closed"):
        distributed.all_reduce(torch.ones(1))


def run_ranks(function: str, folder: Path) -> None:
    """Let three processes be the ranks that a function of this file says."""
    code = (
        "import sys; from frostline.processes.lifetime import exit_process; "
        f"from test_collectives import {function}; {function}(int(sys.argv[1]), sys.argv[2]); exit_process(0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), meet_by_file(folder)], env=environment, stderr=subprocess.PIPE
        )
        for rank in range(WORLD)
    ]
    said = [rank.communicate(timeout=300)[1].decode()[-2000:] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * WORLD, said


@pytest.mark.slow
def test_three_ranks_exchange_text_and_tensors(tmp_path: Path) -> None:
    run_ranks("exchange", tmp_path)


@pytest.mark.slow
def test_ranks_wait_for_the_first_longer_than_a_collective_of_training_may_take(tmp_path: Path) -> None:
    run_ranks("wait_long", tmp_path)


def test_a_rank_alone_gets_back_what_it_gave() -> None:
    value = torch.arange(6).view(3, 2)
    assert ALONE.leads and ALONE.holds_everywhere(True) and not ALONE.holds_everywhere(False)
    assert torch.equal(ALONE.gather_rows(value), value) and torch.equal(ALONE.add_up(value), value)
    assert ALONE.gather_values({"a": 1}) == [{"a": 1}] and ALONE.take_first(None) is None


class Told(Ranks):
    """The first rank of two, told what the other one says."""

    def __init__(self, other: Any):
        super().__init__(0, 2)
        object.__setattr__(self, "other", other)

    def gather_values(self, content: Any) -> list[Any]:
        return [content, self.other]  # type: ignore[attr-defined]

    def add_up(self, value: Tensor, patience: timedelta = FOREVER) -> Tensor:
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


def config_of(*overrides: str) -> Run:
    return resolve(compose("run", list(overrides)))


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **options)


def test_another_number_of_processes_than_devices_is_an_error() -> None:
    assert form_ranks(trainer(), config_of()) is ALONE
    with pytest.raises(UserError, match=r"trainer.devices x trainer.num_nodes is 2, but 1 processes were started"):
        form_ranks(trainer(), config_of("trainer=ddp_cpu"))


def test_a_port_in_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in rank_variables("run", 0, 0, 2, 2, 0, meet_by_address("127.0.0.1", port)).items():
            monkeypatch.setenv(name, value)
        here = find_place()
        assert here is not None and (here.rank, here.world) == (0, 2)
        with pytest.raises(UserError, match=rf"trainer.num_nodes: the ranks cannot meet at 127.0.0.1:{port}"):
            two = trainer(devices=2, strategy="ddp", plugins=[module.make_cluster_environment()])
            form_ranks(two, config_of("trainer=ddp_cpu"))


def test_an_interface_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", find_loopback())
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere0")
        with pytest.raises(UserError, match="trainer.num_nodes: the ranks cannot connect over nowhere0 .*ib0"):
            open_channel(timedelta(seconds=5))
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("value", ["auto", "-1", "[0,1]", "0"])
def test_devices_are_counted(value: str) -> None:
    with pytest.raises(UserError, match="trainer.devices: .*CUDA_VISIBLE_DEVICES"):
        config_of(f"trainer.devices={value}")
