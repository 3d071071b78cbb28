"""Texts and their networks, as the worker meets them: a sound run trains, and bad input is told before training."""

import csv
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from frostline.config.compose import compose, resolve
from frostline.launchers.worker import attempt
from frostline.results.record import Record

transformers: Any = import_module("transformers")

WORDS = ["[UNK]", "good", "bad", "film", "book", "very", "dull", "fine"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A folder with a random BERT of two layers and the tokenizer that fits it."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    write_tokenizer(tmp_path / "bert", WORDS)
    return tmp_path / "bert"


def write_tokenizer(folder: Path, words: list[str]) -> None:
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    transformers.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(folder)


def table(tmp_path: Path, more: str = "") -> Path:
    lines = [
        f"{'very ' * (number % 4)}{word} {'film' if number % 2 else 'book'},{label}"
        for number in range(12)
        for word, label in (("good", "up"), ("fine", "up"), ("bad", "down"), ("dull", "down"))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *lines, more]))
    return tmp_path / "t.csv"


def record(tmp_path: Path, network: Path, *overrides: str, name: str = "x") -> Record:
    own = ["data=text_csv", f"data.file={tmp_path}/t.csv", "data.tokens=12", "backbone=transformers", "epochs=2"]
    own += [f"backbone.name={network}", "trainer.accelerator=cpu", f"outputs={tmp_path}/outputs"]
    config = resolve(compose("run", [*own, *overrides]))
    folder = tmp_path / "outputs" / "runs" / name
    folder.mkdir(parents=True)
    return attempt(config, folder)


def refused(tmp_path: Path, network: Path, *overrides: str) -> str:
    found = record(tmp_path, network, *overrides)
    assert found.status == "failed" and found.user_error and found.reason is not None
    assert not (tmp_path / "outputs" / "runs" / "x" / "metrics.csv").exists(), "it was found before training"
    return found.reason


def predictions(tmp_path: Path, name: str) -> list[list[str]]:
    with (tmp_path / "outputs" / "runs" / name / "predictions.csv").open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("freeze", ["last_k", "lp_ft"])
def test_a_sound_table_trains_and_the_cache_changes_nothing(tmp_path: Path, network: Path, freeze: str) -> None:
    """The others below fail for their own reason only."""
    table(tmp_path)
    cached = record(tmp_path, network, f"freeze={freeze}", name="cached")
    plainly = record(tmp_path, network, f"freeze={freeze}", "cache.enabled=false", name="plain")
    assert cached.status == plainly.status == "done", (cached.reason, plainly.reason)
    assert any("at " in said for said in cached.cached)
    mine, theirs = predictions(tmp_path, "cached"), predictions(tmp_path, "plain")
    assert [line[:3] for line in mine] == [line[:3] for line in theirs]
    for one, other in zip(mine[1:], theirs[1:], strict=True):
        assert [float(value) for value in one[3:]] == pytest.approx([float(value) for value in other[3:]], abs=1e-5)


def test_a_column_that_is_not_there(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    reason = refused(tmp_path, network, "data.text_column=review")
    assert "data.text_column" in reason and "text, label" in reason


def test_rows_without_a_text_or_a_label(tmp_path: Path, network: Path) -> None:
    table(tmp_path, '"  ",up\ngood,\n')
    reason = refused(tmp_path, network)
    assert "t.csv:50 has no text" in reason and "t.csv:51 has no label" in reason and "data.on_bad=skip" in reason


def test_text_and_a_network_for_images(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    reason = refused(tmp_path, network, "backbone=timm", "backbone.name=test_resnet", "backbone.weights=none")
    assert "text" in reason and "image" in reason and "adapter=rendering" in reason


def test_images_and_a_network_for_text(tmp_path: Path, network: Path) -> None:
    config = ["data=digits", "backbone=transformers", f"backbone.name={network}", "data.size=12"]
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    found = attempt(resolve(compose("run", [*config, "trainer.accelerator=cpu", f"outputs={tmp_path}"])), folder)
    assert found.user_error and "image" in str(found.reason) and "adapter=patches" in str(found.reason)


def test_an_augmentation_for_images(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    assert "augment" in refused(tmp_path, network, "augment=light")


def test_a_pickle_in_place_of_safetensors(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    (network / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, network / "pytorch_model.bin")
    reason = refused(tmp_path, network)
    assert "pytorch_model.bin" in reason and "safetensors" in reason


def test_a_folder_without_weights_or_without_anything(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    assert "there is no folder" in refused(tmp_path, network / "nowhere")
    shutil.rmtree(tmp_path / "outputs")
    (network / "model.safetensors").write_bytes(b"half a file")
    assert "backbone.name" in refused(tmp_path, network)
    shutil.rmtree(tmp_path / "outputs")
    (network / "model.safetensors").unlink()
    assert "backbone.name" in refused(tmp_path, network)


def test_a_config_that_names_code(tmp_path: Path, network: Path) -> None:
    """Nothing that lies beside the weights is run."""
    table(tmp_path)
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'canary')!r}).touch()"
    (network / "modeling_own.py").write_text(code)
    (network / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "modeling_own.Own"}}')
    assert "backbone.name" in refused(tmp_path, network)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("words", [[*WORDS, "more"], WORDS[:4], None], ids=["too many", "too few", "none"])
def test_a_tokenizer_that_does_not_fit(tmp_path: Path, network: Path, words: list[str] | None) -> None:
    table(tmp_path)
    for file in network.glob("tokenizer*"):
        file.unlink()
    if words is not None:
        write_tokenizer(network, words)
    reason = refused(tmp_path, network)
    assert "tokenizer" in reason and "8 embeddings" in reason


def test_weights_of_another_network(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    config = (network / "config.json").read_text()
    (network / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    assert "missing: encoder.layer.2." in refused(tmp_path, network)
    shutil.rmtree(tmp_path / "outputs")
    (network / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 1'))
    assert "unexpected: encoder.layer.1." in refused(tmp_path, network)
    shutil.rmtree(tmp_path / "outputs")
    (network / "config.json").write_text(config.replace('"intermediate_size": 24', '"intermediate_size": 32'))
    assert "[24] instead of [32]" in refused(tmp_path, network)


def test_more_tokens_than_positions(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    assert "data.tokens: 17 is more than the 16 positions" in refused(tmp_path, network, "data.tokens=17")


def test_a_pooling_that_does_not_exist(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    assert "backbone.pooling: 'sum'" in refused(tmp_path, network, "backbone.pooling=sum")


def test_a_network_for_something_else(tmp_path: Path, network: Path) -> None:
    table(tmp_path)
    shutil.rmtree(network)
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    transformers.ViTModel(transformers.ViTConfig(**tiny, image_size=8, patch_size=4)).save_pretrained(network)
    reason = refused(tmp_path, network)
    assert "takes pixel_values, not text" in reason
