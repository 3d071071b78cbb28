"""Exports of the networks that people have: families of texts and sounds, transcripts, and what comes with packages."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.finished_runs import finished

from frostline.commands import main
from frostline.config.compose import compose, resolve

pytestmark = pytest.mark.slow

Alone = Callable[[Path, Sequence[str]], list[dict[str, Any]]]
CONVOLUTIONS: Any = {"conv_dim": (8, 8, 8), "conv_kernel": (10, 8, 8), "conv_stride": (5, 8, 8)}
POSITIONS: Any = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
SMALL: Any = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
TEXT: Any = SMALL | {"max_position_embeddings": 20, "vocab_size": 40}
TEXTS: dict[str, tuple[str, Any]] = {
    "roberta": ("Roberta", TEXT),
    "distilbert": ("DistilBert", {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2, "vocab_size": 40}),
    "deberta": ("DebertaV2", TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "modernbert": ("ModernBert", TEXT | {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}),
    "gpt2": ("GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20, "vocab_size": 40}),
    "llama": ("Llama", TEXT | {"num_key_value_heads": 2}),
    "t5": ("T5", {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 40}),
}
SOUNDS: dict[str, tuple[str, Any]] = {
    "wav2vec2": ("Wav2Vec2", SMALL | CONVOLUTIONS | POSITIONS),
    "wavlm": ("WavLM", SMALL | CONVOLUTIONS | POSITIONS),
    "ast": ("AST", SMALL | {"num_mel_bins": 32, "max_length": 64}),
    "whisper": (
        "Whisper",
        {
            **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2},
            **{"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 20},
            **{"max_source_positions": 50, "vocab_size": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
            **{"decoder_start_token_id": 1, "suppress_tokens": [], "begin_suppress_tokens": []},
        },
    ),
}
AUTO = ("onnx", "torch", "transformers", "safetensors")
REFUSED = {
    ("t5", "transformers"),  # the half of a network that AutoModel makes whole
    ("whisper", "transformers"),
    *((name, "safetensors") for name in SOUNDS),
}


def trained(folder: Path, *overrides: str) -> Path:
    return finished(resolve(compose("run", ["epochs=1", "trainer.accelerator=cpu", f"outputs={folder}", *overrides])))[
        1
    ]


def exports(run: Path, formats: Sequence[str], folder: Path) -> dict[str, int]:
    """Return the exit code of each export; each compares what it wrote with Frostline."""
    return {
        format: main(["export", str(run), "--format", format, "--output", str(folder / format)]) for format in formats
    }


def expected(name: str, formats: Sequence[str]) -> dict[str, int]:
    return {format: 2 if (name, format) in REFUSED else 0 for format in formats}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, texts: Path, bert: Path, tmp_path: Path) -> None:
    import transformers

    kind, settings = TEXTS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path / name)
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path / name)
    network = ["backbone=transformers", f"backbone.name={tmp_path / name}", "data.tokens=12", "freeze=full"]
    run = trained(tmp_path, "data=text_csv", f"data.root={texts}", *network)
    assert exports(run, AUTO, tmp_path) == expected(name, AUTO)


def speech(name: str, folder: Path) -> Path:
    import transformers

    kind, settings = SOUNDS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder / name)
    if name == "whisper":
        form = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1)
    elif name == "ast":
        form = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    else:
        form = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=True)
    form.save_pretrained(folder / name)
    return folder / name


def test_the_voice_encoder(speech_run: Path, tmp_path: Path) -> None:
    assert exports(speech_run, ("onnx", "torch"), tmp_path) == {"onnx": 0, "torch": 0}


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("name", SOUNDS)
def test_sounds(name: str, sounds: Path, tmp_path: Path) -> None:
    network = ["backbone=transformers_audio", f"backbone.name={speech(name, tmp_path)}", "data.seconds=0.5"]
    run = trained(tmp_path, "data=audiofolder", f"data.root={sounds}", *network, "freeze=full")
    assert exports(run, AUTO, tmp_path) == expected(name, AUTO)


def test_transcripts(sounds: Path, tmp_path: Path, alone: Alone, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["backbone=transformers_audio", f"backbone.name={speech('wav2vec2', tmp_path)}", "data.seconds=0.6"]
    data = ["data=audiofolder", f"data.manifest={sounds / 'table.csv'}", "data.label_column=said", "head=ctc"]
    run = trained(tmp_path, *data, *network, "freeze=full", "epochs=12", "optimizer.lr=0.01")
    formats = ("onnx", "torch", "transformers")
    assert exports(run, formats, tmp_path) == dict.fromkeys(formats, 0)
    files = sorted(map(str, (sounds / "test").rglob("*.wav")))
    capsys.readouterr()
    assert main(["predict", str(run), *files]) == 0
    lines = [line.rpartition(",")[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert any(lines)
    for format in formats:
        assert [row["prediction"] for row in alone(tmp_path / format, files)] == lines


def test_frames_of_several_depths(sounds: Path, tmp_path: Path) -> None:
    network = ["backbone=transformers_audio", f"backbone.name={speech('wav2vec2', tmp_path)}", "data.seconds=0.6"]
    data = ["data=audiofolder", f"data.manifest={sounds / 'table.csv'}", "data.label_column=said"]
    asked = ["head=layer_mix", "task=ctc", "backbone.pooling=none", "freeze=full", "optimizer.lr=0.01"]
    run = trained(tmp_path, *data, *network, *asked)
    assert exports(run, ("onnx", "torch", "transformers"), tmp_path) == {"onnx": 0, "torch": 0, "transformers": 2}


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (["efficientnet_lite0"], 64),
        (["timm", "backbone.name=test_vit", "backbone.weights=none"], 96),
        (["torchvision", "backbone.name=mobilenet_v3_small", "backbone.weights=none"], 64),
    ],
    ids=["lite", "vit", "torchvision"],
)
def test_images(network: list[str], size: int, pictures: Path, tmp_path: Path) -> None:
    given = [f"backbone={network[0]}", *network[1:], f"data.size={size}", f"data.root={pictures}"]
    run = trained(tmp_path, "data=imagefolder", *given, "freeze=full")
    formats = ("onnx", "torch", "safetensors")
    assert exports(run, formats, tmp_path) == dict.fromkeys(formats, 0)


IMAGE = "backbone=timm backbone.name=test_resnet backbone.weights=none"
BERT = "backbone=transformers backbone.name={bert}"
VOICE = "backbone=voice_encoder backbone.weights=none"
ADAPTED = {
    "rendering": f"data=text_csv data.root={{texts}} {IMAGE}",
    "spectrogram": f"data=audiofolder data.root={{sounds}} data.seconds=0.5 {IMAGE}",
    "patches": f"data=imagefolder data.root={{pictures}} data.size=8 {BERT}",
    "frames": f"data=audiofolder data.root={{sounds}} data.seconds=0.5 adapter.stride=3 {BERT}",
    "rows": f"data=imagefolder data.root={{pictures}} data.size=16 {VOICE}",
    "characters": f"data=text_csv data.root={{texts}} data.tokens=64 {VOICE}",
}


@pytest.mark.parametrize("adapter", ADAPTED)
def test_adapters(adapter: str, texts: Path, sounds: Path, pictures: Path, bert: Path, tmp_path: Path) -> None:
    given = ADAPTED[adapter].format(texts=texts, sounds=sounds, pictures=pictures, bert=bert).split()
    run = trained(tmp_path, *given, f"adapter={adapter}", "freeze=full")
    formats = ("onnx", "torch", "safetensors", "transformers")
    assert exports(run, formats, tmp_path) == {"onnx": 0, "torch": 0, "safetensors": 2, "transformers": 2}


def test_examples_are_written_as_this_house_writes(image_run: Path, tmp_path: Path) -> None:
    exports(image_run, ["safetensors"], tmp_path)
    example = tmp_path / "safetensors" / "example.py"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--diff", "--line-length=120", example], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
