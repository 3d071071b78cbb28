"""Runs from end to end through an input adapter: frozen, cached, aligned, and before networks of each modality."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.data.sounds import folders
from tests.finished_runs import finished, rows
from tests.sequences import save_bert

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.runs.build import Builder

NETWORK = ["backbone=timm", "backbone.weights=none", "backbone.name=test_resnet", "trainer.accelerator=cpu"]
WORDS = {"sweet": "cake sugar honey jam", "hard": "stone iron steel rock"}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A table of 36 short texts of two classes in three splits."""
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label", "split"])
        for place in range(36):
            label = sorted(WORDS)[place % 2]
            words = WORDS[label].split()
            line = " ".join(words[(place + turn) % 4] for turn in range(3))
            rows.writerow([f"{line} {place}", label, ("train", "train", "val", "test")[place // 2 % 4]])
    return path


def config(texts: Path, *overrides: str) -> Run:
    data = ["data=text_csv", f"data.file={texts}", "adapter=rendering", "adapter.size=32", "adapter.font=8"]
    return resolve(compose("run", [*NETWORK, *data, f"outputs={texts.parent / 'outputs'}", *overrides]))


def test_orca_aligns_first_and_its_epochs_are_never_the_best(texts: Path) -> None:
    record, folder = finished(config(texts, "freeze=orca", "freeze.align=0.5", "epochs=4", "optimizer.lr=0.01"))
    table = rows(folder / "metrics.csv")
    assert record["plan"]["phases"][0]["objective"] == "align"
    assert [row["phase"] for row in table] == ["align", "align", "refine", "refine"]
    assert all(row["train/distance"] and not row["train/loss"] for row in table[:2])
    assert all(row["train/loss"] and not row["train/distance"] for row in table[2:])
    assert float(table[1]["train/distance"]) < float(table[0]["train/distance"])
    assert record["best_epoch"] in (2, 3) and record["moved"]["adapter"] > 0
    assert any(note.startswith("longer than their pictures have room for and cut: ") for note in record["notes"])


def test_what_ends_a_phase_early_is_counted_in_each(texts: Path) -> None:
    """Before the first epoch, or the phase without it is not watched: promise of docs/callbacks.md."""
    watch = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: train/loss, stopping_threshold: 9"
    asked = ["freeze=orca", "freeze.align=0.5", "epochs=4"]
    with pytest.raises(UserError, match=r"^trainer\.callbacks: EarlyStopping\.monitor: train/loss .* phase align; "):
        finished(config(texts, *asked, f"+trainer.callbacks=[{watch}}}]"))
    _, folder = finished(config(texts, *asked, f"+trainer.callbacks=[{watch}, strict: false}}]"))
    assert [row["phase"] for row in rows(folder / "metrics.csv")] == ["align", "align", "refine"]


def test_a_probe_behind_an_adapter_is_cached_with_what_the_adapter_measured(texts: Path) -> None:
    probe = ["freeze=linear_probe", "epochs=1"]
    cached, _ = finished(config(texts, *probe))
    live, _ = finished(config(texts, *probe, "cache.enabled=false"))
    assert cached["cached"][0].startswith("at ") and live["cached"] == ["cache.enabled is false"]
    assert cached["metrics"]["test"] == pytest.approx(live["metrics"]["test"], abs=1e-5)
    assert cached["parameters"]["total"] > cached["parameters"]["trainable"][0]


def test_the_adapter_has_its_statistics_before_anything_is_cached(texts: Path, tmp_path: Path) -> None:
    parts = Builder().build(config(texts, "freeze=fpt"))
    adapter: Any = parts.backbone.adapter
    assert 150 < float(adapter.mean) < 255 and float(adapter.deviation) > 10, "mostly white paper"
    assert next(iter(parts.backbone.groups)) == "adapter" and set(parts.plan.phases[0].train) > {"adapter", "head"}
    picture = adapter(parts.data.splits["train"].peek(torch.arange(18)))
    assert abs(float(picture.detach().mean())) < 0.01 and abs(float(picture.detach().std()) - 1) < 0.01


DOCUMENT = (Path(__file__).parents[1] / "docs" / "adapters.md").read_text()
COMMANDS = [line.split()[2:] for line in DOCUMENT.splitlines() if line.startswith("    frostline run ")]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-2])
def test_the_commands_of_the_document_compose(words: list[str]) -> None:
    made = resolve(compose("run", words))
    assert made.adapter["_target_"] != "frostline.backbones.adapters.base.none"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["adapter=none"], r"this is text data, and the network takes image.*adapter=rendering"),
        (["adapter=spectrogram"], r"^adapter=spectrogram: it takes speech data, .* text data; .*adapter=rendering\."),
        (["adapter=patches"], r"^adapter=patches: it takes image data, .* text data; choose adapter=rendering\."),
        (["adapter=none", "freeze=orca"], r"^freeze=orca trains an input adapter, and there is none"),
        (["adapter=characters"], r"^adapter=characters: it makes frames .* test_resnet takes images"),
    ],
)
def test_data_of_another_modality_is_refused_with_what_would_do(
    texts: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    data = ["data=text_csv", f"data.file={texts}", *NETWORK, f"outputs={tmp_path / 'outputs'}", *overrides]
    with pytest.raises(UserError, match=message):
        Builder().build(resolve(compose("run", data)))


@pytest.mark.parametrize("network", ["bert", "voice"])
@pytest.mark.parametrize("adapter", ["patches", "rows", "characters", "frames"])
def test_frames_go_into_networks_of_texts_and_of_sounds(
    adapter: str, network: str, texts: Path, tmp_path: Path
) -> None:
    """None of them needs to be told how large its samples are but by the data set."""
    networks = {
        "bert": ["backbone=transformers", f"backbone.name={save_bert(tmp_path / 'bert')}"],
        "voice": ["backbone=voice_encoder", "backbone.weights=none"],
    }
    pictures = ["data=digits", "data.size=8", "data.num_per_class=3"]
    data = {
        "patches": pictures,
        "rows": pictures,
        "characters": ["data=text_csv", f"data.file={texts}", "data.tokens=32"],
        "frames": ["data=audiofolder", f"data.root={folders(tmp_path / 'sounds', count=2)}", "data.seconds=0.5"],
    }
    given = [*networks[network], *data[adapter], f"adapter={adapter}", "freeze=full", "epochs=1"]
    record, _ = finished(
        resolve(compose("run", [*given, "trainer.accelerator=cpu", f"outputs={tmp_path / 'outputs'}"]))
    )
    assert record["moved"]["adapter"] > 0
