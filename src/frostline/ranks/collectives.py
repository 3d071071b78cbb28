"""The process group of a run, as the run needs it: the same code for one rank and for many."""

import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import Store

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.files.leftovers import make_name, sweep_once
from frostline.ranks.place import Place, count_ranks, find_loopback, find_place

PATIENCE_S = 5
FOREVER = timedelta(days=20)
"""How long a rank waits for the others: as long as rank 0 solves a head, or waits for another builder of the cache.

A rank that dies closes its connections, and whoever started the ranks ends the others. torch polls a store with
milliseconds in 32 bits, which hold no more than 24 days.
"""


@dataclass(frozen=True)
class Ranks:
    """This process's rank among ``world``, and what it exchanges with the others by ``channel``, over gloo.

    All of it goes from main memory to main memory, and is returned there, wherever the tensors given lie: no
    accelerator is waited for that has nothing to do with it, and none holds what only rank 0 needs. Every rank must
    call the same functions in the same order. Alone, each returns what it was given. Only plain text and tensors are
    sent, never a pickle. ``step_patience`` is how long they wait for each other between steps, where none works alone.
    Where a rank is gone the functions raise RuntimeError.
    """

    rank: int = 0
    world: int = 1
    channel: Any = None
    step_patience: timedelta = FOREVER

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes what all share."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every rank has come here."""
        self.add_up(torch.zeros(1))

    def add_up(self, value: Tensor, patience: timedelta = FOREVER) -> Tensor:
        """Return the sum of a tensor over all ranks. Raises RuntimeError where one is not here within ``patience``."""
        summed = value.detach().to("cpu", copy=True)
        if self.world > 1:
            _finish(distributed.all_reduce(summed, group=self.channel, async_op=True), patience)
        return summed

    def holds_everywhere(self, value: bool, patience: timedelta = FOREVER) -> bool:
        """Return whether ``value`` holds on every rank. Raises RuntimeError as ``add_up``."""
        return int(self.add_up(torch.tensor([int(not value)]), patience)) == 0

    def gather_rows(self, value: Tensor) -> Tensor:
        """Return on rank 0 the rows [N, ...] of all ranks, its own first; on any other none, [0, ...].

        Each rank has its own number of rows, perhaps none, and then need not know their shape and dtype either.
        """
        own = value.detach().cpu().contiguous()
        if self.world == 1:
            return own
        shapes = self.gather_values([len(own), list(own.shape[1:]), str(own.dtype).removeprefix("torch.")])
        if not self.leads:
            if own.nbytes:
                _finish(distributed.isend(_bytes(own), 0, group=self.channel))
            return own[:0]
        _, shape, dtype = next((each for each in shapes if each[0]), shapes[0])
        counts = [count for count, *_ in shapes]
        gathered = torch.empty(sum(counts), *shape, dtype=getattr(torch, dtype))
        for rank, part in enumerate(gathered.split(counts)):
            if part.nbytes and rank == 0:
                part.copy_(own)
            elif part.nbytes:
                _finish(distributed.irecv(_bytes(part), rank, group=self.channel))
        return gathered

    def gather_tensors(self, value: Tensor) -> Tensor:
        """Return the tensors of all ranks, of one shape [N, ...], one after the other [world x N, ...]."""
        own = value.detach().cpu().contiguous()
        if self.world == 1 or not own.nbytes:
            return own
        found = own.new_empty(self.world * len(own), *own.shape[1:])
        distributed.all_gather([_bytes(part) for part in found.split(len(own))], _bytes(own), group=self.channel)
        return found

    def gather_values(self, content: Any) -> list[Any]:
        """Return the plain values of all ranks, that of rank 0 first."""
        if self.world == 1:
            return [content]
        text = json.dumps(content).encode()
        counts = self.gather_tensors(torch.tensor([len(text)])).tolist()
        sent = torch.frombuffer(bytearray(text.ljust(max(counts))), dtype=torch.uint8)
        texts = self.gather_tensors(sent).split(max(counts))
        return [json.loads(bytes(text.tolist()).decode()) for text in texts]

    def take_first(self, content: Any = None) -> Any:
        """Return the plain value of rank 0; what the others give does not count."""
        return self.gather_values(content if self.leads else None)[0]

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return the plain value, or the path, that rank ``src`` gives.

        It stands in for the method of Lightning's strategies, which unpickles whatever comes over the network.
        """
        plain = os.fspath(obj) if isinstance(obj, os.PathLike) else obj
        return self.gather_values(plain if self.rank == src else None)[src]

    @torch.no_grad()
    def copy(self, *tensors: Tensor) -> None:
        """Overwrite tensors with those of rank 0, in one message; they stay where and laid out as they are."""
        if self.world == 1 or not tensors:
            return
        sizes = [tensor.nbytes for tensor in tensors]
        sent = torch.empty(sum(sizes), dtype=torch.uint8)
        if self.leads:
            torch.cat([_bytes(tensor.cpu().contiguous()) for tensor in tensors], out=sent)
        distributed.broadcast(sent, 0, group=self.channel)
        for tensor, part in zip(tensors, sent.split(sizes), strict=True):
            tensor.copy_(part.clone().view(tensor.dtype).view(tensor.shape))  # a clone is aligned


def _bytes(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor's memory as bytes: gloo knows few dtypes."""
    return tensor.view(-1).view(torch.uint8)


def _finish(work: Any, patience: timedelta = FOREVER) -> None:
    """Wait for what was begun; gloo itself would give sending and receiving no more time than the ranks had to meet."""
    work.wait(patience)


ALONE = Ranks()


def make_cluster_environment() -> ClusterEnvironment:
    """Return where Lightning learns its rank: torchrun's variables, or that it is alone.

    Left to itself it looks for SLURM's too, warns wherever there is a SLURM, and takes over SLURM's requeueing.
    """
    return LightningEnvironment() if find_place() is None else TorchElasticEnvironment()


def form_ranks(trainer: pl.Trainer, config: Run, timeout: timedelta | None = None) -> Ranks:
    """Join the ranks of a run and make sure that they are as many as its config says.

    ``timeout`` is how long the collectives of training wait; None: as long as torch's do.
    Raises UserError where they are not, and where their meeting point is taken.
    """
    wanted, here = count_ranks(config), find_place()
    started = 1 if here is None else here.world
    if started != wanted:
        raise UserError(
            f"trainer.devices x trainer.num_nodes is {wanted}, but {started} processes were started; start the run "
            "with frostline."
        )
    strategy: Any = trainer.strategy
    if isinstance(strategy, DDPStrategy) and not distributed.is_initialized():
        _join(here, strategy, timeout)
    if here is None or wanted == 1:
        return ALONE
    strategy.setup_environment()
    if not distributed.get_world_size() == trainer.world_size == wanted:
        sizes = f"the process group has {distributed.get_world_size()} ranks, the Trainer {trainer.world_size}"
        raise UserError(f"trainer.devices x trainer.num_nodes is {wanted}, but {sizes}.")
    limit = timeout or distributed_c10d.default_pg_timeout
    return Ranks(trainer.global_rank, wanted, open_channel(limit), limit)


def leave_process_group() -> None:
    """Take torch's process group down, where there is one: its threads end, which may not outlive the interpreter."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _join(here: Place | None, strategy: Any, timeout: timedelta | None) -> None:
    """Form torch's process group, before Lightning would: by a store that listens to everybody who can reach it.

    DDP wants a group of one process (``here`` None) too.
    """
    device: torch.device = strategy.root_device
    strategy.accelerator.setup_device(device)
    rank, world = (0, 1) if here is None else (here.rank, here.world)
    if world == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", find_loopback())
    try:
        store = distributed.HashStore() if here is None else open_store(here)  # type: ignore[attr-defined]
    except (OSError, distributed.DistNetworkError) as error:
        address = urlsplit(here.meeting if here else "").netloc
        raise UserError(
            f"trainer.num_nodes: the ranks cannot meet at {address} ({error}); start the run again, which takes "
            "another port."
        ) from error
    distributed.init_process_group(
        strategy.process_group_backend or distributed.get_default_backend_for_device(device),
        store=store,
        rank=rank,
        world_size=world,
        timeout=timeout,
        device_id=None if device.type == "cpu" else device,
    )


def open_channel(timeout: timedelta) -> Any:
    """Return a group over gloo of all ranks, who must meet within ``timeout`` but may then wait for each other.

    The group that trains cannot be used: its collectives give up after half an hour, and NCCL's need an accelerator.
    Raises UserError where they cannot connect.
    """
    try:
        channel = distributed.new_group(backend="gloo", timeout=timeout)
    except RuntimeError as error:
        way = os.environ.get("GLOO_SOCKET_IFNAME", "the interface of the node's name")
        raise UserError(
            f"trainer.num_nodes: the ranks cannot connect over {way} ({str(error).splitlines()[0]}); name one that "
            "joins the nodes, as in launcher.setup=['export GLOO_SOCKET_IFNAME=ib0']."
        ) from error
    lengthen: Any = getattr(distributed, "set_timeout", None) or distributed_c10d._set_pg_timeout  # before torch 2.14
    lengthen(FOREVER, channel)
    return channel


def open_store(here: Place) -> Store:
    """Return the store by which ranks find each other: a file, or on several machines a service of rank 0.

    torch's own would listen on all interfaces; this one does on the address alone that the meeting point names.
    Raises OSError or DistNetworkError where that cannot be had.
    """
    meeting = urlsplit(here.meeting)
    if meeting.scheme == "file":
        return distributed.FileStore(unquote(meeting.path), here.world)  # type: ignore[attr-defined]
    assert meeting.hostname is not None and meeting.port is not None
    leads = here.rank == 0
    listener = socket.create_server((meeting.hostname, meeting.port)).detach() if leads else None
    make: Any = distributed.TCPStore  # type: ignore[attr-defined]
    return make(meeting.hostname, meeting.port, here.world, leads, master_listen_fd=listener)


def check_shared(ranks: Ranks, outputs: Path) -> None:
    """Raise UserError unless every rank sees in ``outputs`` what rank 0 writes there, by a file made to be found."""
    if ranks.world == 1:
        return
    probe = outputs / f".{ranks.take_first(make_name())}.probe"
    if ranks.leads:
        sweep_once(outputs)
        probe.touch()
    ranks.wait()
    found = ranks.gather_values([socket.gethostname(), _appears(probe)])
    if ranks.leads:
        probe.unlink()
    blind = sorted({host for host, there in found if not there})
    if blind:
        raise UserError(
            f"outputs: {outputs.absolute()} on {', '.join(blind)} is not the folder that {found[0][0]} has; choose one "
            "that all nodes share."
        )


def _appears(path: Path) -> bool:
    """Return whether a file is there; a network file system may show it a moment late."""
    for _ in range(PATIENCE_S):
        if path.exists():
            return True
        os.listdir(path.parent)  # makes some of them look again
        time.sleep(1)
    return path.exists()


def check_alike(ranks: Ranks, about: dict[str, str]) -> None:
    """Raise UserError where ranks on different nodes have different versions of what decides a result."""
    found = ranks.gather_values({"host": socket.gethostname(), **about})
    for rank, other in enumerate(found):
        for name in about:
            if other[name] != found[0][name]:
                raise UserError(
                    f"{name} is {found[0][name]} on {found[0]['host']} (rank 0) but {other[name]} on {other['host']} "
                    f"(rank {rank}); install the same versions on every node."
                )
