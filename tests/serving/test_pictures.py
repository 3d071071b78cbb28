"""Odd pictures, at the command line: training, `predict` and every export read them alike, and say what was lost."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tests.configs import make
from tests.finished_runs import finished, rows

from frostline.commands import main
from frostline.config.compose import compose, resolve
from frostline.data.reading import Item
from frostline.files.atomic import write_json
from frostline.serving.export import import_program
from frostline.serving.reading import make_reader
from frostline.serving.restored import Restored, restore
from frostline.serving.runs import find_run

SPLITS = ("train", "val", "test")
FITS = {"crop": [], "squash": [], "pad": ["data.background=navy", "data.crop=0.9"]}


def odd(number: int, up: bool, path: Path) -> None:
    """Save one picture of a dark wedge on light ground, whose kind follows from its number."""
    image = Image.new("RGB", (64, 64), (230, 220, 240))
    points = [(32, 10), (16, 52), (48, 52)]
    ImageDraw.Draw(image).polygon(points if up else [(x, 63 - y) for x, y in points], fill=(30, 30, 60))
    image = image.resize((40 + 8 * (number % 3), 64))
    exif, kind = Image.Exif(), number % 6
    if kind == 0:
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(f"{path}.jpg", exif=exif)
    elif kind == 1:
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 4).save(f"{path}.png")
    elif kind == 2:
        alpha = Image.eval(image.convert("L"), lambda value: 255 if value < 128 else 0)
        Image.merge("RGBA", [*[Image.new("L", image.size)] * 3, alpha]).save(f"{path}.png")
    elif kind == 3:
        image.convert("CMYK").save(f"{path}.jpeg")
    elif kind == 4:
        image.quantize(8).save(f"{path}.gif", save_all=True, append_images=[image.rotate(180)])
    else:
        exif[0x0112] = 3
        image.rotate(180).save(f"{path}.tiff", exif=exif)


@pytest.fixture(scope="module")
def odd_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    for split in SPLITS:
        for label in ("up", "down"):
            (root / split / label).mkdir(parents=True)
            for number in range(6):
                odd(number, label == "up", root / split / label / str(number))
    return root


@pytest.fixture(scope="module", params=FITS)
def odd_run(request: pytest.FixtureRequest, odd_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.size=32"]
    given = ["data=imagefolder", f"data.root={odd_pictures}", "epochs=1", "trainer.accelerator=cpu", *network]
    given += [f"data.fit={request.param}", *FITS[request.param], f"outputs={tmp_path_factory.mktemp('out')}"]
    return finished(resolve(compose("run", given)))[1]


def restored(run: Path) -> Restored:
    return restore(*find_run(str(run), run.parent), accelerator="cpu")


def trained_on(model: Restored, root: Path) -> dict[str, torch.Tensor]:
    """Return what the run's own data set gives its network, by file."""
    data = model.config.data
    asked = {key: data[key] for key in ("size", "fit", "crop", "background")}
    split = make("data/imagefolder", root=str(root), preprocess=model.backbone.preprocess, **asked).splits["test"]
    made = split.inputs(torch.arange(len(split)), 0)
    assert isinstance(made, torch.Tensor)
    return {str(root / name): one for name, one in zip(split.names, made, strict=True)}


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_all_that_reads_a_picture_reads_it_alike(
    odd_run: Path, odd_pictures: Path, tmp_path: Path, format: str
) -> None:
    """Promise 46."""
    model = restored(odd_run)
    expected = trained_on(model, odd_pictures)
    batch = make_reader(model).read([Item(name, name) for name in expected])
    assert isinstance(batch.inputs, torch.Tensor) and torch.equal(batch.inputs, torch.stack([*expected.values()]))
    assert main(["export", str(odd_run), "--format", format, "--output", str(tmp_path / "out")]) == 0
    example = import_program(tmp_path / "out" / "example.py")
    made = example.prepare(list(expected))
    assert np.array_equal(made[0], batch.inputs.numpy())
    answers = example.answers(*example.load()(*made))
    own = model.task.answers(model.classes, model.outputs(batch.inputs))
    for found, one in zip(answers, own, strict=True):
        assert found["probabilities"] == pytest.approx(one.probabilities, abs=1e-4)


def test_predict_says_of_the_test_files_what_the_run_said(
    odd_run: Path, odd_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert main(["predict", str(odd_run), str(odd_pictures / "test"), "--output", str(out), "--batch-size", "5"]) == 0
    own = {row["sample"]: row for row in rows(odd_run / "predictions.csv")}
    assert len(own) == 12 == len(rows(out))
    for row in rows(out):
        expected = own[row["sample"].removeprefix(f"{odd_pictures}/")]
        assert float(row["p(up)"]) == pytest.approx(float(expected["p(up)"]), abs=2e-6)
    said = capsys.readouterr().err
    for line in (
        "4 samples are turned as their EXIF says.",
        "2 samples may be transparent: they are put on data.background.",
        "2 samples have more than 8 bits a value: 0 to 1023 become 0 to 255.",
        "2 samples hold several frames or pages, of which the first is read.",
    ):
        assert line in said


def test_predict_opens_no_pipe_and_knows_pictures_by_content(
    odd_run: Path, odd_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    Image.new("RGB", (9, 9)).save(folder / "a.jfif", "JPEG")
    Image.new("RGB", (9, 9)).save(folder / "b.heic", "PNG")
    assert main(["predict", str(odd_run), str(folder), "--output", str(tmp_path / "out.csv")]) == 2
    assert "pipe.png is a pipe, not a file" in capsys.readouterr().err
    given = [str(odd_run), str(folder), str(folder / "pipe.png"), "--output", str(tmp_path / "out.csv")]
    assert main(["predict", *given, "--on-bad", "skip"]) == 0
    assert [Path(row["sample"]).name for row in rows(tmp_path / "out.csv")] == ["a.jfif", "b.heic"]
    assert "2 samples could not be read" in capsys.readouterr().err


def test_the_record_says_what_was_lost_and_the_range(odd_run: Path) -> None:
    record = json.loads((odd_run / "record.json").read_text())
    assert record["data"]["span"] == [0, 1023]
    assert "6 images have more than 8 bits a value: 0 to 1023 become 0 to 255" in record["notes"]
    assert "6 images may be transparent: they are put on data.background" in record["notes"]
    assert "12 images are turned as their EXIF says" in record["notes"]


def test_a_run_of_old_reads_as_it_did(odd_run: Path, tmp_path: Path) -> None:
    """Before there was data.fit the backbone's own crop was cut out."""
    run = shutil.copytree(odd_run, tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    for key in ("fit", "crop", "background"):
        del record["config"]["data"][key]
    del record["data"]["span"]
    write_json(run / "record.json", record)
    found, own = make_reader(restored(run)).preprocess, restored(run).backbone.preprocess
    assert (found.fit, found.crop, found.span) == ("crop", own.crop, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kinds", [(0, 5), (2,), (1,)], ids=["EXIF", "transparency", "10 bits"])
def test_a_network_learns_from_odd_pictures(tmp_path: Path, kinds: tuple[int, ...]) -> None:
    """Read as they lie in the file, half of these are the wrong way up, all black, or all but black."""
    root = tmp_path / "set"
    for split in SPLITS:
        for label in ("up", "down"):
            (root / split / label).mkdir(parents=True)
            for number in range(12):
                made = 6 * number + kinds[number % len(kinds)]
                odd(made, label == "up", root / split / label / str(number))
    given = ["data=imagefolder", f"data.root={root}", "data.size=48", "freeze=linear_probe", "augment=none"]
    given += ["epochs=1", "trainer.accelerator=cpu", f"outputs={tmp_path}/outputs"]
    if 0 in kinds:  # the plain ones of a set are half of it
        for file in sorted(root.glob("*/*/*.tiff")):
            with Image.open(file) as image:
                image.convert("RGB").save(file.with_suffix(".png"))
            file.unlink()
    record, _ = finished(resolve(compose("run", given)))
    assert record["metrics"]["test"]["accuracy"] == 1.0
