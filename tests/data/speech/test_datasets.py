"""Speech data sets from folders and tables: what is served, what is noted, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tests import configs
from tests.data.sounds import RATE, folders, tone, write

from frostline.data.base import DataModule
from frostline.data.image.augment import none
from frostline.data.inputs import Pixels, Ragged
from frostline.data.speech.datasets import AudioFolder
from frostline.data.speech.mel import Mel
from frostline.data.speech.published import PLACE
from frostline.data.speech.waves import Waves
from frostline.errors import UserError

WANTED = Mel(16000, bands=20)  # a second


def make(root: Path, **options: Any) -> AudioFolder:
    return configs.make("data/audiofolder", root=str(root), **{"preprocess": WANTED, "seconds": 1.0, **options})


def served(data: DataModule, split: str = "train", view: int = 0) -> Ragged:
    inputs = data.splits[split].inputs(torch.arange(len(data.splits[split])), view)
    assert isinstance(inputs, Ragged)
    return inputs


def test_folders_are_served_as_frames_at_the_networks_rate(tmp_path: Path) -> None:
    data = make(folders(tmp_path))
    assert data.classes == ["high", "low"] and len(data.splits["train"]) == 8
    frames = served(data)
    assert frames.values.shape == (8, 101, 20) and frames.lengths.tolist() == [51] * 8
    loudest = frames.values[:, 10].argmax(dim=1)
    assert len(set(loudest[:4].tolist())) == 1 and loudest[0] > loudest[-1]


def test_a_sample_is_the_same_alone_in_a_batch_and_from_the_disk(tmp_path: Path) -> None:
    folders(tmp_path)
    kept, read = make(tmp_path), make(tmp_path, memory_gb=0.0)
    whole = served(kept)
    assert torch.equal(whole.values, served(read).values)
    peeked = make(tmp_path).splits["train"].peek(torch.tensor([5]))
    assert isinstance(peeked, Ragged)
    torch.testing.assert_close(peeked.values[0], whole.values[5])
    assert read.splits["train"].costly and not kept.splits["train"].costly


def test_every_format_and_rate_gives_the_same_sound(tmp_path: Path) -> None:
    wave = tone(440.0, 0.5, 16000)
    for name in ("a.wav", "b.flac", "c.ogg", "d.mp3"):
        write(tmp_path / "train/x" / name, wave, 16000)
    write(tmp_path / "train/x/e.wav", np.stack([wave, wave], axis=1), 16000)
    write(tmp_path / "train/x/f.wav", tone(440.0, 0.5, 44100), 44100)
    for split, label in (("train", "y"), ("val", "x"), ("val", "y"), ("test", "x"), ("test", "y")):
        write(tmp_path / split / label / "0.wav", tone(800.0, seed=1 + len(split + label)))
    frames = served(make(tmp_path)).values
    loudest, bands = frames[:6, 5:45].mean(dim=1).max(dim=1)
    assert len(set(bands.tolist())) == 1
    torch.testing.assert_close(loudest, loudest[:1].expand(6), atol=0.1, rtol=0.0)
    torch.testing.assert_close(frames[1], frames[0], atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(frames[4], frames[0], atol=1e-4, rtol=1e-4)


def test_long_recordings_are_cut_and_counted(tmp_path: Path) -> None:
    folders(tmp_path, count=2)
    write(tmp_path / "train/low/long.wav", tone(300.0, 3.0))
    data = make(tmp_path)
    assert served(data).lengths.tolist() == [51, 51, 51, 51, 101]
    assert "1 of 13 recordings are longer than data.seconds=1 and were cut" in data.notes


def test_a_table_names_recordings_labels_and_splits(tmp_path: Path) -> None:
    rows = ["path,label,split"]
    for index, split in enumerate(("train", "train", "val", "test") * 2):
        label = "up" if index < 4 else "down"
        write(tmp_path / f"{index}.flac", tone(200.0 * (index + 1)))
        rows.append(f"{index}.flac,{label},{split}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows))
    data = configs.make("data/audiofolder", manifest=str(table), preprocess=WANTED)
    assert data.classes == ["down", "up"] and data.splits["val"].names == ["2.flac", "6.flac"]
    assert data.splits["train"].labels.tolist() == [1, 1, 0, 0]


def test_views_change_train_alone_and_come_again(tmp_path: Path) -> None:
    folders(tmp_path)
    plain = make(tmp_path)
    for augment in (configs.make("augment/speech_light"), configs.make("augment/specaugment")):
        data = make(tmp_path, augment=augment, views=3, seed=5)
        assert data.views == 3 and data.transform_id("train") != plain.transform_id("train")
        first = served(data)
        assert torch.equal(served(data).values, first.values)
        assert not torch.equal(served(data, view=1).values, first.values)
        assert not torch.equal(first.values, served(plain).values)
        assert torch.equal(served(data, "val").values, served(plain, "val").values)
        from_disk = make(tmp_path, augment=augment, views=3, seed=5, memory_gb=0.0)
        assert torch.equal(served(from_disk).values, first.values)


def test_missing_splits_are_drawn_and_subsets_too(tmp_path: Path) -> None:
    for index in range(10):
        for label, hertz in (("a", 300.0), ("b", 900.0)):
            write(tmp_path / label / f"{index}.wav", tone(hertz, seed=index))
    data = make(tmp_path, num_per_class=3)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [6, 4, 4]
    assert any("drew val and test" in note for note in data.notes)


def test_a_preview_is_a_picture(tmp_path: Path) -> None:
    assert make(folders(tmp_path)).preview("train", 0).startswith(b"\x89PNG")  # type: ignore[union-attr]


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "page": (lambda path: path.write_bytes(b"<html></html>"), "is a web page"),
    "text": (lambda path: path.write_bytes(b"hello" * 100), "is not a WAV, FLAC, OGG or MP3 file"),
    "samples": (lambda path: write(path, tone(300.0, 0.0)), r"has no samples \(truncated\?\)"),
    "short": (lambda path: write(path, tone(300.0, 0.05)), r"lasts 0\.05 s, less than data\.min_seconds=0\.1"),
    "slow": (lambda path: soundfile.write(path, tone(300.0), 500), "has 500 samples a second"),
}
HIDDEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "silent": (lambda path: write(path, np.zeros(4000, np.float32)), r"is silent in its first 0\.5 s"),
    "numbers": (
        lambda path: soundfile.write(path, np.full(4000, np.nan, np.float32), RATE, subtype="FLOAT"),
        "holds samples that are no numbers",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_before_anything_is_made(kind: str, tmp_path: Path) -> None:
    spoil, reason = BAD[kind]
    spoil(folders(tmp_path) / "train/low/bad.wav")
    with pytest.raises(
        UserError, match=rf"1 recordings cannot be used: train/low/bad\.wav {reason}.*data\.on_bad=skip"
    ):
        make(tmp_path)
    data = make(tmp_path, on_bad="skip")
    assert len(data.splits["train"]) == 8 and any("left out 1 recordings" in note for note in data.notes)


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_only_decoding_shows_is_named_before_training(kind: str, tmp_path: Path) -> None:
    spoil, reason = HIDDEN[kind]
    spoil(folders(tmp_path) / "train/low/bad.wav")
    with pytest.raises(UserError, match=rf"1 samples cannot be used: train/low/bad\.wav {reason}"):
        make(tmp_path).check()
    skipping = make(tmp_path, on_bad="skip")
    skipping.check()
    assert len(skipping.splits["train"]) == 8


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_half_a_file_is_named(kind: str, tmp_path: Path) -> None:
    folders(tmp_path, count=2, seconds=1.0)
    path = write(tmp_path / f"train/low/half.{kind}", tone(300.0, 1.0, 16000), 16000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        UserError, match=rf"train/low/half\.{kind} (is damaged|is truncated|has no samples \(truncated\?\))"
    ):
        make(tmp_path).check()


def test_a_missing_file_of_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,label\nnowhere.wav,x\n")
    with pytest.raises(UserError, match=r"nowhere\.wav does not exist"):
        configs.make("data/audiofolder", manifest=str(tmp_path / "table.csv"), preprocess=WANTED)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/notes.txt").write_text("no sound")
    with pytest.raises(UserError, match="holds no training recordings"):
        make(tmp_path)


def test_a_backbone_or_an_augmentation_for_images_is_refused(tmp_path: Path) -> None:
    folders(tmp_path)
    pixels = Pixels(32, 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    with pytest.raises(UserError, match="this is speech data, and the network takes image.*adapter=spectrogram"):
        make(tmp_path, preprocess=pixels)
    with pytest.raises(UserError, match="augment: Light is for images; with speech it is none, speech_light"):
        make(tmp_path, augment=configs.make("augment/light"))
    assert make(tmp_path, augment=none()).views == 1


def test_masks_of_frames_are_refused_for_a_network_of_waves(tmp_path: Path) -> None:
    folders(tmp_path)
    waves = Waves(16000, standardise=True)
    changed = make(tmp_path, preprocess=waves, augment=configs.make("augment/speech_light"))
    assert served(changed).values.shape == (8, 16000)
    with pytest.raises(UserError, match="SpecAugment masks frames, and the backbone takes waves"):
        make(tmp_path, preprocess=waves, augment=configs.make("augment/specaugment"))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"seconds": 0.05}, "seconds"),
        ({"batch_size": 0}, "batch_size"),
        ({"on_bad": "no"}, "on_bad"),
        ({"x": 1}, "data"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=key):
        make(folders(tmp_path, count=1), **options)


def transcripts(root: Path, *texts: str, seconds: float = 0.5) -> Path:
    rows = ["path,text,split"]
    for index, text in enumerate(texts):
        write(root / f"{index}.wav", tone(300.0 + 20 * index, seconds, seed=index))
        rows.append(f'{index}.wav,"{text}",{("train", "val", "test")[index % 3]}')
    (root / "texts.csv").write_text("\n".join(rows))
    return root / "texts.csv"


def test_transcripts_are_labels_of_a_sequence_of_characters(tmp_path: Path) -> None:
    table = transcripts(tmp_path, "ab a", "a", "b", "Ba", "b", "a")
    data = configs.make(
        "data/audiofolder", manifest=str(table), label_column="text", preprocess=WANTED, task=configs.make("task/ctc")
    )
    assert data.classes == [" ", "a", "b"]
    assert data.splits["train"].labels.tolist() == [[1, 2, 0, 1], [2, 1, -1, -1]]


def test_transcripts_that_do_not_fit_are_named_before_training(tmp_path: Path) -> None:
    long = "ab" * 26  # of half a second 51 frames are made
    table = transcripts(tmp_path, "ab", "a", "b", long, "b", "a")
    options: dict[str, Any] = {"label_column": "text", "preprocess": WANTED, "task": configs.make("task/ctc")}
    reason = r"3\.wav has a transcript that takes 52 steps, and the backbone makes 51 of it"
    with pytest.raises(UserError, match=reason):
        configs.make("data/audiofolder", manifest=str(table), **options)
    assert len(configs.make("data/audiofolder", manifest=str(table), on_bad="skip", **options).splits["train"]) == 1
    short = {**options, "preprocess": Mel(3200, bands=20)}
    with pytest.raises(UserError, match=r"lasts 0\.5 s, more than data\.seconds=0\.2, and would lose its words"):
        configs.make("data/audiofolder", manifest=str(table), **short)


def test_speech_commands_are_read_by_their_official_lists(tmp_path: Path) -> None:
    folder = tmp_path / PLACE
    for word, hertz in (("no", 300.0), ("yes", 900.0), ("_background_noise_", 50.0)):
        for index in range(4):
            write(folder / word / f"{index}.wav", tone(hertz, 1.0, 16000, seed=index), 16000)
    (folder / "validation_list.txt").write_text("no/0.wav\nyes/0.wav\n")
    (folder / "testing_list.txt").write_text("no/1.wav\nyes/1.wav\n")
    data = configs.make("data/speechcommands", root=str(tmp_path), download=False, preprocess=WANTED, seconds=1.0)
    assert data.classes == ["no", "yes"]
    assert data.splits["train"].names == ["no/2.wav", "no/3.wav", "yes/2.wav", "yes/3.wav"]
    assert data.splits["test"].names == ["no/1.wav", "yes/1.wav"]
    with pytest.raises(UserError, match=r"data\.root: .* holds no whole SpeechCommands"):
        configs.make(
            "data/speechcommands", root=str(tmp_path / "nowhere"), download=False, preprocess=WANTED, seconds=4.0
        )


def test_what_is_lost_of_recordings_is_counted(tmp_path: Path) -> None:
    """Nothing is said of what loses nothing: see the notes of the other recordings."""
    folders(tmp_path)
    wave = tone(300.0, 0.5, 44100)
    soundfile.write(tmp_path / "train/low/stereo.wav", np.stack([wave, wave], axis=1), 44100)
    notes = make(tmp_path).notes
    assert "1 of 25 recordings have several channels, which were mixed to one" in notes
    assert "1 of 25 recordings have more than 16000 samples a second and lost what is above 8000 Hz" in notes
    assert not any("were cut" in note for note in notes)
