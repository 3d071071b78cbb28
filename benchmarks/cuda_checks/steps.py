"""Checks of benchmarks/cuda.py that look inside a step or a network."""

import os
import subprocess
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from here import CLOSE, CUDA, NETWORK, NO_GPU, SMALL, Rows, finish, judge, make, make_pool
from torch import distributed

from frostline.backbones.cuts import prefix, suffix
from frostline.data.inputs import Inputs, chunks
from frostline.ranks.collectives import Group, open_channel
from frostline.ranks.place import loopback
from frostline.runs.build import Builder
from frostline.runs.experiment import train
from frostline.runs.setup import Experiment, set_up
from frostline.training.module import CHECK_EVERY

STEPS = 20


def check_cached(outputs: Path) -> Rows:
    """Features by way of stored activations against those of the whole network, at other batch sizes too."""
    for precision in CLOSE if CUDA else ("32-true", "bf16-mixed"):
        config = make(outputs, *NETWORK, "freeze=full", f"trainer.precision={precision}")
        parts = set_up(config, outputs / precision, Builder(), time.monotonic())
        few, samples = (parts.made.data.splits["train"].inputs(torch.arange(count), 0) for count in (8, 96))
        for cut in [parts.policy.cuts[len(parts.policy.cuts) * part // 4] for part in (1, 2, 3)]:
            apart = {size: difference(parts, few if size == 1 else samples, cut.name, size) for size in (1, 24, 96)}
            text = ", ".join(f"{value:.1e} at {size}" for size, value in apart.items())
            about = f"{precision}, cut {cut.name}: apart by {text} samples"
            yield judge(max(apart.values()) < CLOSE[precision], about, apart=apart)


@torch.inference_mode()
def difference(parts: Experiment, samples: Inputs, cut: str, size: int) -> float:
    """Return how far features of live and of stored activations lie apart, of the largest of them."""
    device, backbone = parts.cache.device, parts.made.backbone.to(parts.cache.device).eval()
    below, above = prefix(backbone, [cut]), suffix(backbone, cut)
    with parts.cache.autocast():
        stored = [below(batch.to(device))[0].cpu() for batch in chunks(samples, 32)]
        live = [backbone(batch.to(device)).float() for batch in chunks(samples, size)]
        again = [above(batch.to(device)).float() for batch in chunks(torch.cat(stored), size)]
    one, other = torch.cat(live), torch.cat(again)
    return float((one - other).abs().max() / one.abs().max())


def follow(parts: Experiment, callback: pl.Callback) -> None:
    """Train with a callback."""
    trainer: Any = parts.trainer
    trainer.callbacks.append(callback)
    train(parts, None)


class Waits(pl.Callback):
    """Counts how often the device is waited for, from the start of each of the first steps to that of the next."""

    def __init__(self, seen: list[warnings.WarningMessage]):
        self.seen, self.each = seen, list[int]()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx:
            self.each.append(sum("synchroniz" in str(one.message) for one in self.seen))
        self.seen.clear()
        torch.cuda.set_sync_debug_mode("warn" if batch_idx < STEPS else "default")


def check_waits(outputs: Path) -> Rows:
    """A look at the loss every 16th step is all that may wait for the device."""
    if not CUDA:
        yield {"state": "not done", "about": "there is no GPU here; tests count under fake tensors"}
        return
    for name, more in {"live": ["cache.enabled=false"], "cached": []}.items():
        options = ["freeze=last_k", "head.solver=null", "epochs=1", "data.batch_size=8", *more]
        parts = set_up(make(outputs, *NETWORK, *options), outputs / name, Builder(), time.monotonic())
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            waits = Waits(seen)
            follow(parts, waits)
        each = {step: count for step, count in enumerate(waits.each[:STEPS]) if count}
        good = len(waits.each) >= STEPS and all(step % CHECK_EVERY == 0 for step in each)
        yield judge(good, f"{name}: of {STEPS} steps these wait: {each}", waits=each)


class Profile(pl.Callback):
    """Profiles twenty steps."""

    def __init__(self) -> None:
        kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        self.profile, self.seconds = torch.profiler.profile(activities=kinds), 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 5:
            torch.cuda.synchronize()
            self.profile.start()
            self.seconds = -time.monotonic()
        if trainer.global_step == 25:
            torch.cuda.synchronize()
            self.seconds += time.monotonic()
            self.profile.stop()

    def busy(self) -> float:
        """Return the share of the time in which the device worked."""
        events = [event for event in self.profile.events() or () if of_kernel(event)]
        spans, end = sorted((event.time_range.start, event.time_range.end) for event in events), 0.0
        total = 0.0
        for start, stop in spans:
            total += max(0.0, stop - max(start, end))
            end = max(end, stop)
        return total / 1e6 / self.seconds


def of_kernel(event: Any) -> bool:
    """Return whether an event is work of the device, and no span that a program has named."""
    return event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)


def check_profile(outputs: Path) -> Rows:
    """How busy the device is where all of a network trains, and what makes it faster."""
    full = ["freeze=full", "data=digits", "data.batch_size=32", "data.size=224"]
    full += [*NETWORK[len(SMALL) + 1 :], "optimizer.lr=0.001", "test=false"]
    if not CUDA:
        yield NO_GPU
        return
    parts = set_up(make(outputs, *full, "epochs=1"), outputs / "profile", Builder(), time.monotonic())
    profile = Profile()
    follow(parts, profile)
    yield judge(profile.busy() > 0, f"the device works {profile.busy():.0%} of the time", busy=profile.busy())
    variants = {
        "as it comes": [],
        "decoded each time": ["data.memory_gb=0"],
        "decoded by 8 loaders": ["data.memory_gb=0", "data.workers=8"],
        "matmul high": ["trainer.matmul_precision=high"],
        "bf16-mixed": ["trainer.precision=bf16-mixed"],
        "not channels-last": ["backbone.channels_last=false"],
        "channels-last": ["backbone.channels_last=true"],
    }
    with make_pool() as pool:
        runs = {name: [*full, *more, "epochs=2"] for name, more in variants.items()}
        for name, outcome in finish(pool, outputs, **runs).items():
            cost = outcome.record["cost"]
            text = (
                f"{name}: {cost['samples_per_second']:.0f} images/s" if cost else f"{name}: {outcome.record['reason']}"
            )
            yield judge(outcome.record["status"] == "done", text, cost=cost)


def check_exchange(outputs: Path) -> Rows:
    """Every function of the group, given tensors of the device, by two ranks that share it."""
    outputs.mkdir(parents=True)
    words = [sys.executable, str(Path(__file__).parent), "rank"]
    ranks = [
        subprocess.Popen([*words, str(rank), str(outputs)], stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]
    for rank, process in enumerate(ranks):
        said, _ = process.communicate()
        yield judge(process.returncode == 0 and "wrong" not in said, f"rank {rank}: {said.strip()}")


def exchange(rank: int, folder: str) -> None:
    """Be one of the ranks; print what comes back as it should, and what does not."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback())
    store = distributed.FileStore(f"{folder}/meeting", 2)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    group = Group(rank, 2, open_channel(timedelta(seconds=15)))
    device = "cuda" if CUDA else "cpu"
    group.wait()
    found = {
        "all": group.all(True) and not group.all(rank == 0),
        "each": group.each({"rank": rank}) == [{"rank": 0}, {"rank": 1}],
        "first": group.first(rank) == 0,
        "broadcast": group.broadcast(rank, 1) == 1,
    }
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool):
        own = torch.arange(3, device=device).add(rank).to(dtype).repeat(rank + 1, 1)
        both = torch.cat([torch.arange(3).repeat(1, 1), torch.arange(1, 4).repeat(2, 1)]).to(dtype)
        rows, same = group.rows(own), group.same(own[:1])
        laid = own.t().contiguous().t()
        group.copy(laid[:1])
        found |= {
            f"rows {dtype}": torch.equal(rows, both if rank == 0 else both[:0]),
            f"same {dtype}": torch.equal(same, both[:2]),
            f"copy {dtype}": torch.equal(laid[:1].cpu(), both[:1]) and laid.device == own.device,
        }
    found["total"] = torch.equal(group.total(torch.ones(3, device=device)), torch.full((3,), 2.0))
    distributed.destroy_process_group()
    wrong = [name for name, good in found.items() if not good]
    print(f"wrong: {', '.join(wrong)}" if wrong else f"{len(found)} exchanges on {device} are right")
