"""`frostline export`: a folder whose example says, without Frostline, what Frostline says."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from frostline.commands import main
from frostline.data.reading import Item
from frostline.errors import UserError
from frostline.serving import formats
from frostline.serving.export import export, import_program
from frostline.serving.reading import make_reader
from frostline.serving.restored import Restored, restore
from frostline.serving.runs import find_run

Alone = Callable[[Path, Sequence[str]], list[dict[str, Any]]]
Make = Callable[..., Path]


def restored(run: Path) -> Restored:
    return restore(*find_run(str(run), run.parent), accelerator="cpu")


def exported(run: Path, format: str, folder: Path) -> Path:
    assert main(["export", str(run), "--format", format, "--output", str(folder)]) == 0
    return folder


def own(run: Path, samples: Sequence[str]) -> list[dict[str, Any]]:
    """Return what Frostline says of samples."""
    model = restored(run)
    batch = make_reader(model).read([Item(sample, sample) for sample in samples])
    assert batch.inputs is not None and not batch.bad
    return [answer._asdict() for answer in model.task.answers(model.classes, model.outputs(batch.inputs))]


def said(folder: Path, samples: Sequence[str]) -> list[dict[str, Any]]:
    """Return what an export's example says of samples that are one batch."""
    example = import_program(folder / "example.py")
    return example.answers(*example.load()(*example.prepare(samples)))


def agree(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [one["prediction"] for one in found] == [one["prediction"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.get("probabilities", {}) == pytest.approx(other["probabilities"], abs=1e-4)


@pytest.fixture
def images(pictures: Path) -> list[str]:
    return sorted(map(str, (pictures / "test").rglob("*.*")))


@pytest.fixture
def lines() -> list[str]:
    return ["w1", "w3 w9 w30 w7", " ".join(f"w{place}" for place in range(1, 30))]


@pytest.fixture
def files(sounds: Path) -> list[str]:
    return sorted(map(str, (sounds / "test").rglob("*.wav")))


def test_onnx_of_an_image_network(image_run: Path, images: list[str], tmp_path: Path, alone: Alone) -> None:
    folder = exported(image_run, "onnx", tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "preprocessing.json", "labels.json", "example.py"}
    agree(alone(folder, images), own(image_run, images))
    agree(said(folder, images), own(image_run, images))
    assert json.loads((folder / "labels.json").read_text())["classes"] == ["a", "b"]
    assert json.loads((folder / "preprocessing.json").read_text())["size"] == 32


def test_onnx_of_a_text_network_takes_any_length(
    text_run: Path, lines: list[str], tmp_path: Path, alone: Alone
) -> None:
    folder = exported(text_run, "onnx", tmp_path / "out")
    agree(alone(folder, lines), own(text_run, lines))
    agree(said(folder, lines), own(text_run, lines))


def test_a_torch_program(image_run: Path, images: list[str], tmp_path: Path, alone: Alone) -> None:
    agree(alone(exported(image_run, "torch", tmp_path / "out"), images), own(image_run, images))


def test_a_folder_that_transformers_loads(text_run: Path, lines: list[str], tmp_path: Path, alone: Alone) -> None:
    import transformers

    folder = exported(text_run, "transformers", tmp_path / "out")
    agree(alone(folder, lines), own(text_run, lines))
    assert type(transformers.AutoModel.from_pretrained(folder)).__name__ == "BertModel"
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(lines[1])["input_ids"]
    assert tokens == [3, 9, 30, 7]


def test_safetensors_of_an_image_network(image_run: Path, images: list[str], tmp_path: Path, alone: Alone) -> None:
    agree(alone(exported(image_run, "safetensors", tmp_path / "out"), images), own(image_run, images))


def test_safetensors_of_the_voice_encoder(speech_run: Path, files: list[str], tmp_path: Path, alone: Alone) -> None:
    agree(alone(exported(speech_run, "safetensors", tmp_path / "out"), files), own(speech_run, files))


@pytest.mark.parametrize(("task", "column"), [("multilabel", "tags"), ("regression", "number")])
def test_other_tasks(tagged: Make, images: list[str], tmp_path: Path, task: str, column: str) -> None:
    run = tagged(f"task={task}", f"data.label_column={column}", "freeze=linear_probe")
    found, expected = said(exported(run, "safetensors", tmp_path / "out"), images), own(run, images)
    if task == "multilabel":
        agree(found, expected)
    else:
        values = [[row["prediction"] for row in rows] for rows in (found, expected)]
        assert values[0] == pytest.approx(values[1], rel=1e-4)


@pytest.mark.parametrize("head", ["mlp", "cosine"])
def test_other_heads(tagged: Make, images: list[str], tmp_path: Path, head: str) -> None:
    run = tagged(f"head={head}", "data.label_column=number")
    agree(said(exported(run, "safetensors", tmp_path / "out"), images), own(run, images))


@pytest.mark.parametrize("head", ["taps", "layer_mix", "attentive"])
def test_heads_over_depths(
    tagged: Make, images: list[str], tmp_path: Path, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tagged(f"head={head}", "data.label_column=number", "head.solver=null", "freeze=last_k")
    for format in ("torch", "onnx"):
        agree(said(exported(run, format, tmp_path / format), images), own(run, images))
    assert main(["export", str(run), "--format", "safetensors", "--output", str(tmp_path / "out")]) == 2
    assert "is made by Frostline alone; choose --format onnx or torch" in capsys.readouterr().err


def test_what_only_frostline_makes_is_refused_in_a_sentence(
    image_run: Path, speech_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (image_run, speech_run):
        assert main(["export", str(run), "--format", "transformers", "--output", str(tmp_path / "out")]) == 2
        assert "is no network that AutoModel loads as a whole" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_traced_is_refused_in_a_sentence(image_run: Path, tmp_path: Path) -> None:
    model = restored(image_run)
    forward = model.head.forward
    model.head.forward = lambda features: forward(features) if float(features.sum()) > 0 else forward(features) * 2
    with pytest.raises(UserError, match="torch.export cannot do test_resnet"):
        export(model, "onnx", tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_an_export_that_is_not_the_same_is_not_left_behind(
    image_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: Restored, folder: Path) -> formats.Part:
        part = formats.write_safetensors(model, folder)
        state = {name: tensor + 0.01 for name, tensor in model.head.state_dict().items()}
        model.head.load_state_dict(state)
        return part

    monkeypatch.setitem(formats.FORMATS, "safetensors", wrong)
    with pytest.raises(UserError, match="the outputs of the exported network are not those of Frostline"):
        export(restored(image_run), "safetensors", tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_there_stays_as_it_is(
    image_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert main(["export", str(image_run), "--format", "torch", "--output", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_samples_are_made_where_the_data_have_gone(image_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(image_run, tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    record["config"]["data"]["root"] = str(tmp_path / "gone")
    (run / "record.json").write_text(json.dumps(record))
    exported(run, "safetensors", tmp_path / "out")
