"""`frostline predict`: what it says of a run's own test samples is what the run said of them."""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from safetensors.numpy import load_file, save_file
from tests.finished_runs import finished, rows

from frostline.commands import main
from frostline.files.atomic import sha256_file, write_json

Make = Callable[..., Path]


def predicted(run: Path, output: Path, *arguments: object) -> list[dict[str, str]]:
    assert main(["predict", str(run), *map(str, arguments), "--output", str(output)]) == 0
    return rows(output)


def same(run: Path, said: list[dict[str, str]], prefix: str) -> None:
    """Compare all but the labels with what the run left."""
    own = {row["sample"]: row for row in rows(run / "predictions.csv")}
    assert len(said) == len(own) > 0
    for row in said:
        expected = own[row["sample"].removeprefix(prefix)]
        assert list(row) == [column for column in expected if column != "label"]
        assert row["prediction"] == expected["prediction"]
        for column in row:
            if column.startswith("p("):
                assert float(row[column]) == pytest.approx(float(expected[column]), abs=2e-6)


def test_a_folder_of_images(image_run: Path, pictures: Path, tmp_path: Path) -> None:
    said = predicted(image_run, tmp_path / "out.csv", pictures / "test", "--batch-size", 4)
    same(image_run, said, f"{pictures}/")
    assert [row["sample"] for row in said] == sorted(row["sample"] for row in said)


def test_a_table_of_texts(text_run: Path, texts: Path, tmp_path: Path) -> None:
    same(text_run, predicted(text_run, tmp_path / "out.csv", texts / "test.csv"), f"{texts}/")


def test_a_folder_of_sounds(speech_run: Path, sounds: Path, tmp_path: Path) -> None:
    same(speech_run, predicted(speech_run, tmp_path / "out.csv", sounds / "test"), f"{sounds}/")


@pytest.mark.parametrize("head", ["layer_mix", "attentive"])
def test_a_head_over_depths(head: str, tagged: Make, pictures: Path, tmp_path: Path) -> None:
    run = tagged(f"head={head}", "task=multilabel", "data.label_column=tags", "freeze=linear_probe")
    same(run, predicted(run, tmp_path / "out.csv", pictures / "test"), f"{pictures}/")


def test_numbers_are_said_in_the_units_of_the_labels(tagged: Make, pictures: Path, tmp_path: Path) -> None:
    run = tagged("task=regression", "data.label_column=number", "freeze=linear_probe")
    said = predicted(run, tmp_path / "out.csv", pictures / "test")
    own = {row["sample"]: float(row["prediction"]) for row in rows(run / "predictions.csv")}
    for row in said:
        assert set(row) == {"sample", "prediction"}
        assert float(row["prediction"]) == pytest.approx(own[row["sample"].removeprefix(f"{pictures}/")], rel=1e-5)
    assert max(own.values()) > 1  # not in deviations from the mean


def test_tags_are_a_list_in_json(
    tagged: Make, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tagged("task=multilabel", "data.label_column=tags", "freeze=linear_probe")
    same(run, predicted(run, tmp_path / "out.csv", pictures / "test"), f"{pictures}/")
    assert main(["predict", str(run), str(pictures / "test"), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 6 and any(row["prediction"] for row in rows)
    for row in rows:
        above = [name for name, probability in row["probabilities"].items() if probability > 0.5]
        assert row["prediction"] == above


def test_what_an_adapter_measured_is_remembered(room: Path, texts: Path, tmp_path: Path) -> None:
    from frostline.config.compose import compose, resolve

    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "adapter=rendering"]
    given = [
        "data=text_csv",
        f"data.root={texts}",
        *network,
        "epochs=1",
        "trainer.accelerator=cpu",
        "freeze=linear_probe",
    ]
    config = resolve(compose("run", [*given, f"outputs={tmp_path}"]))
    _, folder = finished(config)
    same(folder, predicted(folder, tmp_path / "out.csv", texts / "test.csv"), f"{texts}/")


def test_standard_input_holds_a_path_or_a_text_a_line(
    image_run: Path,
    text_run: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = sorted(map(str, (pictures / "test").rglob("*.png")))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(files)))
    assert main(["predict", str(image_run), "-"]) == 0
    assert [row["sample"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == files
    monkeypatch.setattr(sys, "stdin", io.StringIO("w1 w2\n\nw3\n"))
    assert main(["predict", str(text_run), "-"]) == 0
    assert [row["sample"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == ["stdin:1", "stdin:3"]


def test_texts_come_line_by_line_and_from_other_columns(text_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("w1 w2\nw3\n")
    (tmp_path / "blob").write_text('{"body": "w1 w2"}\n')
    (tmp_path / "in" / "b.jsonl").symlink_to(tmp_path / "blob")  # as a hub's cache does
    rows = predicted(text_run, tmp_path / "out.csv", tmp_path / "in", "--text-column", "body")
    assert [row["sample"].rpartition("/")[2] for row in rows] == ["a.txt:1", "a.txt:2", "b.jsonl:1"]
    assert [*rows[0].values()][1:] == [*rows[2].values()][1:]


def test_a_run_is_found_by_the_beginning_of_its_id(
    image_run: Path, text_run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs, file = str(image_run.parents[1]), str(pictures / "test" / "a" / "2.png")
    assert main(["predict", image_run.name[:9], file, "--outputs", outputs]) == 0
    assert main(["predict", str(image_run / "record.json"), file]) == 0
    assert main(["predict", "zzz", file, "--outputs", outputs]) == 2
    assert "'zzz' is neither a folder nor a run" in capsys.readouterr().err
    assert main(["predict", str(image_run.parent), file]) == 2
    assert "holds no record.json" in capsys.readouterr().err


def test_several_runs_of_one_beginning_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("abc1", "abc2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert main(["predict", "abc", "x", "--outputs", str(tmp_path)]) == 2
    assert "the beginning of several runs: abc1, abc2" in capsys.readouterr().err


def test_bad_files_are_named_and_refused_or_left_out(
    image_run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.png").write_bytes((pictures / "test" / "a" / "2.png").read_bytes()[:200])
    Image.new("RGB", (40, 30)).save(tmp_path / "in" / "sound.png")
    (tmp_path / "in" / "readme.md").write_text("no image")
    out = tmp_path / "out.csv"
    assert main(["predict", str(image_run), str(tmp_path / "in"), "--output", str(out)]) == 2
    assert "broken.png is truncated or damaged" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"], "nothing half-written stays"
    rows = predicted(image_run, out, tmp_path / "in", "--on-bad", "skip")
    assert [Path(row["sample"]).name for row in rows] == ["sound.png"]
    error = capsys.readouterr().err
    assert "left out: " in error and "1 samples could not be read" in error
    assert "1 files are not named as images" in error and "in/readme.md; they were left out." in error


def test_what_is_left_out_of_folders_is_counted_and_named(
    speech_run: Path, text_run: Path, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(sounds / "test" / "high" / "0.wav", tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "b.txt").write_text("w1 w2\n")
    for number in range(12):
        (tmp_path / "in" / f"c{number:02d}.bak").write_text("x")
    for run, others, kind in ((speech_run, "a.wav", "recordings"), (text_run, "b.txt:1", "texts")):
        rows = predicted(run, tmp_path / "out.csv", tmp_path / "in")
        assert [row["sample"].rpartition("/")[2] for row in rows] == [others]
        said = capsys.readouterr().err
        assert f"13 files are not named as {kind} (" in said and "c00.bak; " in said and "; and 3 more; they" in said


@pytest.mark.parametrize("name", ["image", "text", "speech"])
def test_what_is_no_file_is_named_and_not_opened(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = request.getfixturevalue(f"{name}_run")
    suffix = {"image": ".png", "text": ".txt", "speech": ".wav"}[name]
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    assert main(["predict", str(run), str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"pipe{suffix} is a pipe, not a file" in said and f"zero{suffix} is a device, not a file" in said
    assert main(["predict", str(run), str(tmp_path), "--on-bad", "skip"]) == 0
    assert "2 samples could not be read and were left out" in capsys.readouterr().err


def test_texts_that_no_network_takes_are_named_or_left_out(
    text_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_bytes(b"w1 w2\ncaf\xe9\nw3\0\n")
    (tmp_path / "b.jsonl").write_text('{"text": "w1\\ud83d"}\n{"text": null}\n{"text": "w2"}\n')
    assert main(["predict", str(text_run), str(tmp_path / "a.txt")]) == 2
    said = capsys.readouterr().err
    assert "a.txt:2 has bytes that are not UTF-8" in said and "a.txt:3 has a NUL character" in said
    rows = predicted(text_run, tmp_path / "out.csv", tmp_path / "a.txt", tmp_path / "b.jsonl", "--on-bad", "skip")
    assert [row["sample"].rpartition("/")[2] for row in rows] == ["a.txt:1", "b.jsonl:3"]
    assert "b.jsonl:1 has half a character" in capsys.readouterr().err
    (tmp_path / "c.csv").write_text("text\na, b\n")
    assert main(["predict", str(text_run), str(tmp_path / "c.csv"), "--on-bad", "skip"]) == 2
    assert "PATH: line 2 of " in capsys.readouterr().err


def test_nothing_to_label_is_the_users_mistake(
    image_run: Path, text_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.pdf").write_text("x")
    for run, path, said in (
        (image_run, "empty", "there are no images in"),
        (image_run, "nowhere", "there is no file or folder"),
        (text_run, "a.pdf", "is no file of texts"),
    ):
        assert main(["predict", str(run), str(tmp_path / path)]) == 2
        assert said in capsys.readouterr().err


def test_other_weights_than_the_run_began_with_are_refused(
    text_run: Path, bert: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = bert / "model.safetensors"
    kept = weights.read_bytes()
    tensors = load_file(weights)
    name = next(name for name in tensors if "word_embeddings" in name)
    tensors[name] = tensors[name] + np.float32(1)
    try:
        save_file(tensors, weights, metadata={"format": "pt"})
        assert main(["predict", str(text_run), str(texts / "test.csv")]) == 2
    finally:
        weights.write_bytes(kept)
    assert "are not those that this run began with" in capsys.readouterr().err


def test_a_run_that_cannot_be_used_is_refused(
    image_run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(image_run, tmp_path / "run")
    for file in (run / "checkpoints").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-10])
    assert main(["predict", str(run), str(pictures / "test")]) == 2
    assert "the best checkpoint is gone or damaged" in capsys.readouterr().err
    record = json.loads((run / "record.json").read_text())
    write_json(run / "record.json", {**record, "status": "failed"})
    assert main(["predict", str(run), str(pictures / "test")]) == 2
    assert "this run is failed, not done" in capsys.readouterr().err
    del record["config"]["task"]
    write_json(run / "record.json", record)
    assert main(["predict", str(run), str(pictures / "test")]) == 2
    assert "made by an earlier Frostline" in capsys.readouterr().err


def test_only_a_batch_is_read_ahead(image_run: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    from frostline.serving.predict import yield_chunks
    from frostline.serving.reading import make_reader
    from frostline.serving.restored import restore
    from frostline.serving.runs import find_run

    path = str(pictures / "test" / "a" / "2.png")
    taken = []

    def lines():
        for place in range(1000):
            taken.append(place)
            yield path

    reader = make_reader(restore(*find_run(str(image_run), image_run.parent)))
    first = next(yield_chunks(reader.list_items(["-"], lines()), 8))
    assert len(first) == 8 and len(taken) == 8


def test_a_run_is_left_as_it_was(image_run: Path, pictures: Path, tmp_path: Path) -> None:
    def sums() -> dict[str, str]:
        return {str(path): sha256_file(path) for path in image_run.rglob("*") if path.is_file()}

    before = sums()
    predicted(image_run, tmp_path / "out.csv", pictures / "test")
    assert sums() == before


def test_what_is_lost_of_new_samples_is_counted(
    speech_run: Path, text_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, (30_000, 2))
    soundfile.write(tmp_path / "a.wav", wave, 44100)
    predicted(speech_run, tmp_path / "out.csv", tmp_path / "a.wav")
    said = capsys.readouterr().err
    assert "1 samples are longer than data.seconds=0.4 and were cut" in said
    assert "1 samples have several channels" in said and "1 samples have more than 16000 samples a second" in said
    (tmp_path / "a.txt").write_text("w1 " * 50 + "\nw2\n")
    predicted(text_run, tmp_path / "out.csv", tmp_path / "a.txt")
    assert "1 samples are longer than data.tokens=12 and were cut" in capsys.readouterr().err
