"""Speech from end to end: recordings in, a record, predictions and a cache that changes nothing out."""

from pathlib import Path

import pytest
import torch
from tests.data.sounds import VOICE, folders, needs_voice, spellings
from tests.finished_runs import finished, rows

from frostline.config.compose import compose, resolve
from frostline.errors import UserError


def run(outputs: Path, *overrides: str) -> tuple[dict, Path]:
    return finished(resolve(compose("run", [*VOICE, f"outputs={outputs}", *overrides])))


def predictions(folder: Path) -> list[dict[str, str]]:
    return rows(folder / "predictions.csv")


def transcripts(tmp_path: Path) -> list[str]:
    """Return the overrides of a run that learns to spell."""
    table = spellings(tmp_path / "data")
    data = [f"data.manifest={table}", "data.label_column=text", "data.seconds=0.8", "data.batch_size=8"]
    return [*data, "head=ctc", "backbone.weights=pretrained"]


def test_tones_are_told_apart(tmp_path: Path) -> None:
    root = folders(tmp_path / "data")
    record, folder = run(tmp_path, f"data.root={root}", "data.seconds=0.5", "freeze=linear_probe")
    assert record["metrics"]["test"]["accuracy"] == 1.0
    assert record["cached"][-1].startswith("at ") and record["backbone"]["name"] == "voice_encoder"
    assert [row["sample"] for row in predictions(folder)][0] == "test/high/0.wav"


@needs_voice
def test_transcripts_are_learnt_on_a_frozen_encoder(tmp_path: Path) -> None:
    said = transcripts(tmp_path)
    record, folder = run(tmp_path, *said, "freeze=linear_probe", "optimizer.lr=0.03", "epochs=25", "task.beam=3")
    assert record["cached"][-1].startswith("at features")
    assert set(record["metrics"]["test"]) == {"wer", "cer", "exact_match", "loss"}
    assert record["metrics"]["test"]["cer"] < 0.75
    counts = {"word_errors", "words", "character_errors", "characters"}
    assert set(predictions(folder)[0]) == {"sample", "label", "prediction", *counts}


@needs_voice
def test_a_mix_of_depths_reads_what_the_last_layer_has_forgotten(tmp_path: Path) -> None:
    """The character error rate is 0; of a linear layer over the features, in as many steps, 0.68."""
    said = [*transcripts(tmp_path), "freeze=linear_probe", "optimizer.lr=0.03", "epochs=25", "task.beam=3"]
    record, _ = run(tmp_path, *said, "head=layer_mix", "task=ctc", "backbone.pooling=none")
    assert record["metrics"]["test"]["cer"] < 0.1 and record["cached"] == ["4 taps, 33.2 MB"]


@needs_voice
def test_a_partly_frozen_encoder_learns_the_same_with_and_without_the_cache(tmp_path: Path) -> None:
    options = [*transcripts(tmp_path), "freeze=last_k", "optimizer.lr=0.01", "epochs=6"]
    record, folder = run(tmp_path / "cached", *options)
    live, live_folder = run(tmp_path / "live", *options, "cache.enabled=false")
    assert record["cached"][-1].startswith("at block") and live["cached"] == ["cache.enabled is false"]
    assert record["metrics"]["test"] == pytest.approx(live["metrics"]["test"], rel=1e-3)
    assert predictions(folder) == predictions(live_folder)


def test_waves_of_a_small_transformer_train_and_are_cached(tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 8),
        conv_stride=(5, 8, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "network")
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path / "network")
    network = ["backbone=transformers_audio", f"backbone.name={tmp_path / 'network'}", "backbone.weights=pretrained"]
    options = [*network, f"data.root={folders(tmp_path / 'data')}", "data.seconds=0.5", "epochs=2", "freeze=last_k"]
    record, _ = run(tmp_path / "cached", *options, "augment=speech_light", "data.views=2")
    live, _ = run(tmp_path / "live", *options, "augment=speech_light", "data.views=2", "cache.enabled=false")
    assert record["cached"][-1].startswith("at ") and record["metrics"]["test"] == pytest.approx(
        live["metrics"]["test"], rel=1e-3
    )


def test_an_adapter_is_aligned_with_recordings_that_a_network_of_sounds_may_know(tmp_path: Path) -> None:
    digits = ["data=digits", "data.size=8", "data.num_per_class=5", "adapter=rows", "freeze=orca", "epochs=3"]
    with pytest.raises(UserError, match=r"^freeze=orca .* set adapter\.source to a folder of recordings"):
        run(tmp_path, *digits)
    source = folders(tmp_path / "sounds")
    record, folder = run(tmp_path, *digits, "freeze.align=0.67", "optimizer.lr=0.01", f"adapter.source={source}")
    distances = [float(row["train/distance"]) for row in rows(folder / "metrics.csv")[:2]]
    assert distances[1] < distances[0] and record["moved"]["adapter"] > 0


def test_mistakes_are_named_before_training(tmp_path: Path) -> None:
    table = spellings(tmp_path / "data", 10)
    root = ["data.seconds=0.8", f"data.manifest={table}", "data.label_column=text"]
    with pytest.raises(UserError, match=r"task=ctc answers for each frame.*backbone\.pooling=none"):
        run(tmp_path / "1", *root, "head=ctc", "backbone.pooling=mean")
    with pytest.raises(UserError, match="task=multiclass has one answer a sample; use mean"):
        run(tmp_path / "0", *root, "backbone.pooling=none")
    with pytest.raises(UserError, match="this is speech data, and the network takes image"):
        run(tmp_path / "2", *root, "backbone=efficientnet_lite0")
    with pytest.raises(UserError, match=r"texts\.csv has no column 'words'"):
        run(tmp_path / "3", *root, "data.label_column=words")
