"""Runs whose head reads several depths: the cache changes nothing, nor does a sitting in between."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.data.sounds import VOICE, spellings
from tests.finished_runs import finished, rows
from tests.sequences import save_bert, write_texts
from tests.small_runs import run

from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.training.module import FineTuner

FRAMES = ["head=layer_mix", "task=ctc", "backbone.pooling=none"]


def on_texts(folder: Path, outputs: Path, *overrides: str) -> tuple[dict[str, Any], Path]:
    if not (folder / "bert").exists():
        save_bert(folder / "bert")
        write_texts(folder / "texts")
    network = ["backbone=transformers", f"backbone.name={folder / 'bert'}", "trainer.accelerator=cpu"]
    data = ["data=text_csv", f"data.root={folder / 'texts'}", "data.tokens=12", "data.batch_size=8", "epochs=2"]
    return finished(resolve(compose("run", [*network, *data, f"outputs={outputs}", *overrides])))


def on_speech(folder: Path, outputs: Path, *overrides: str) -> tuple[dict[str, Any], Path]:
    table = folder / "sounds" / "texts.csv"
    if not table.exists():
        spellings(folder / "sounds", 30)
    data = [f"data.manifest={table}", "data.label_column=text", "data.seconds=0.8", "data.batch_size=8", "epochs=2"]
    return finished(resolve(compose("run", [*VOICE, *data, *FRAMES, f"outputs={outputs}", *overrides])))


def on_images(folder: Path, outputs: Path, *overrides: str) -> tuple[dict[str, Any], Path]:
    return run(outputs, *overrides)


SETS = {
    "mix of images": (on_images, "head=layer_mix"),
    "attention over images": (on_images, "head=attentive"),
    "mix of texts": (on_texts, "head=layer_mix"),
    "attention over texts": (on_texts, "head=attentive"),
    "mix of frames": (on_speech, "head.dropout=0.1"),
}


@pytest.mark.parametrize("freeze", ["linear_probe", "last_k"])
@pytest.mark.parametrize("kind", SETS)
def test_a_run_learns_the_same_with_and_without_the_cache(kind: str, freeze: str, tmp_path: Path) -> None:
    do, head = SETS[kind]
    options = [head, f"freeze={freeze}", "optimizer.lr=0.01"]
    record, folder = do(tmp_path, tmp_path / "cached", *options)
    live, other = do(tmp_path, tmp_path / "live", *options, "cache.enabled=false")
    stored = " taps, " if freeze == "linear_probe" else "at "
    assert stored in record["cached"][-1] and live["cached"] == ["cache.enabled is false"]
    assert record["metrics"]["test"] == pytest.approx(live["metrics"]["test"], rel=1e-3, abs=1e-5)
    each = [[row["prediction"] for row in rows(one / "predictions.csv")] for one in (folder, other)]
    assert each[0] == each[1]
    cost, whole = record["cost"], live["cost"]
    assert cost["forward_flops"] + cost["flops_saved"] == whole["forward_flops"] and cost["flops_saved"] > 0
    said = [note for note in record["notes"] if "gave each depth this weight: " in note]
    assert len(said) == ("mix" in kind)


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(max((folder / "checkpoints").glob("*.safetensors")))


@pytest.mark.parametrize("kind", ["mix of images", "attention over images", "mix of frames"])
def test_a_run_that_goes_on_ends_as_one_that_never_stopped(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do, head = SETS[kind]
    options = [head, "freeze=last_k", "epochs=3"]
    _, whole = do(tmp_path, tmp_path / "whole", *options)
    begin = FineTuner.on_train_epoch_start

    def stop(module: FineTuner) -> None:
        if module.trainer.current_epoch == 1:
            raise RuntimeError("stopped")
        begin(module)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "on_train_epoch_start", stop)
        with pytest.raises(RuntimeError, match="^stopped$"):
            do(tmp_path, tmp_path / "parts", *options)
    record, parts = do(tmp_path, tmp_path / "parts", *options)
    assert record["status"] == "done" and rows(parts / "predictions.csv") == rows(whole / "predictions.csv")
    one, other = last_weights(parts), last_weights(whole)
    assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_mix_learns_which_depth_knows(tmp_path: Path) -> None:
    """By hundreds of steps at a high rate: the weights leave where they began, and differ."""
    record, _ = run(tmp_path, "head=layer_mix", "freeze=linear_probe", "optimizer.lr=0.05", "epochs=60")
    (note,) = [note for note in record["notes"] if note.startswith("head=layer_mix gave each depth this weight: ")]
    weights = [float(part.rpartition(" ")[2]) for part in note.rstrip(".").partition(": ")[2].split(", ")]
    assert sum(weights) == pytest.approx(1, abs=0.01) and max(weights) > 1.2 * min(weights)


@pytest.mark.parametrize("head", ["taps", "attentive"])
def test_frames_ask_for_a_head_that_answers_for_each(head: str, tmp_path: Path) -> None:
    options = [f"head={head}", "task=ctc", "backbone.pooling=none", "freeze=linear_probe"]
    with pytest.raises(UserError, match=f"^head={head} answers once a sample, .* choose head=layer_mix or head=ctc"):
        on_speech(tmp_path, tmp_path, *options)
    with pytest.raises(UserError, match=r"task=ctc answers for each frame; .* head=ctc \(or head=layer_mix\)"):
        on_speech(tmp_path, tmp_path, "backbone.pooling=mean")
