"""What data are like: copies and odd samples that were planted are found in images, texts, sounds and own data."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make
from tests.data.examination.planted import plant_pictures, plant_recordings, write_picture, write_pictures
from tests.extras import need
from torch.utils.data import Dataset

from frostline.data.base import DataModule
from frostline.data.examination.examine import count_classes, examine
from frostline.data.examination.facts import Copies, Examination
from frostline.data.examination.sentences import list_sentences
from frostline.data.index import DataIndex
from frostline.data.inputs import Pixels
from frostline.data.own.given import AsGiven
from frostline.data.speech.mel import Mel
from frostline.data.text.characters import TextBytes
from frostline.tasks.base import Task

NONE = Copies(samples=0, relabelled=0, pairs=[])


def look(data: DataModule, task: str = "multiclass", seconds: float = 60.0) -> Examination:
    found = examine(data, make(f"task/{task}"), seconds, seed=0)
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(dict(found)))
    return found


def images(root: Path, preprocess: Pixels, **options: Any) -> DataModule:
    return make("data/imagefolder", root=str(root), preprocess=preprocess, **options)


def texts(file: Path, rows: Sequence[tuple[str, str, str]], **options: Any) -> DataModule:
    file.write_text("\n".join(["text,label,split", *(",".join(row) for row in rows)]))
    return make(
        "data/text_csv", file=str(file), split_column="split", preprocess=TextBytes(50), token_cache=None, **options
    )


def rows(count: int = 10) -> list[tuple[str, str, str]]:
    """Return different texts of two classes in three splits."""
    return [
        (f"{split} text number {index}", ("a", "b")[index % 2], split)
        for split in ("train", "val", "test")
        for index in range(count)
    ]


def test_images_that_are_sound_have_no_copies_and_nothing_odd(tmp_path: Path, preprocess: Pixels) -> None:
    found = look(images(write_pictures(tmp_path), preprocess))
    assert found["samples"] == {"train": 16, "val": 12, "test": 12} and not found["failed"]
    assert set(found["copies"]) == {"train/train", "train/val", "train/test", "val/test"}
    assert all(copies == NONE for copies in found["copies"].values())
    assert found["extremes"] == [] and {one["looked_at"] for one in found["contents"].values()} == {16, 12}
    (needed,) = list_sentences(found)
    assert "the 12 that are there do not even show one of 10 points" in needed


def test_copies_and_odd_images_are_found(tmp_path: Path, preprocess: Pixels) -> None:
    found = look(images(plant_pictures(write_pictures(tmp_path)), preprocess))
    copies = found["copies"]
    assert copies["train/train"] == Copies(samples=1, relabelled=0, pairs=[("train/cat/0.png", "train/cat/copy.png")])
    assert copies["train/val"] == Copies(
        samples=2,
        relabelled=1,
        pairs=[("train/cat/2.png", "val/dog/relabelled.png"), ("train/cat/1.png", "val/cat/leaked.png")],
    )
    assert copies["train/test"] == NONE and copies["val/test"]["pairs"] == [("val/dog/3.png", "test/dog/late.png")]
    (extremes,) = found["extremes"]
    assert extremes["splits"] == {"val": {"count": 1, "names": ["val/cat/huge.png"]}}
    assert (extremes["median"], extremes["low"], extremes["high"]) == (24 * 18, 43200, 43200)
    train = found["contents"]["train"]
    assert train["blank"] == {"count": 1, "names": ["train/dog/grey.png is of one colour"]}
    assert train["unusable"]["count"] == 1
    assert train["unusable"]["names"][0].startswith("train/dog/half.png is truncated or damaged")
    said = "\n".join(list_sentences(found))
    assert "2 of 15 validation images are also in train, 1 of them with another label" in said
    assert "1 of 15 test" not in said and "1 of 13 test images is also in val" in said
    assert "1 training image cannot be used: train/dog/half.png" in said
    assert "There is nothing to go by in 1 training image: train/dog/grey.png is of one colour." in said


def test_a_table_of_images_is_examined_as_folders_are(tmp_path: Path, preprocess: Pixels) -> None:
    root = plant_pictures(write_pictures(tmp_path))
    lines = ["path,label,split"]
    lines += [f"{path.relative_to(root)},{path.parts[-2]},{path.parts[-3]}" for path in sorted(root.rglob("*.png"))]
    (root / "table.csv").write_text("\n".join(lines))
    data = make("data/csv", manifest=str(root / "table.csv"), split_column="split", preprocess=preprocess)
    table, folder = look(data), look(images(root, preprocess))
    for kind in ("samples", "classes", "contents", "extremes"):
        assert str(table[kind]) == str(folder[kind])
    assert {name: one["samples"] for name, one in table["copies"].items()} == {
        name: one["samples"] for name, one in folder["copies"].items()
    }


def test_pictures_in_memory_are_examined(preprocess: Pixels) -> None:
    need("mnist")
    for name in ("digits", "mnist5k"):
        found = look(make(f"data/{name}", preprocess=preprocess, size=None))
        assert not found["failed"] and found["classes"] and len(found["classes"]["counts"]["train"]) == 10
        assert found["contents"]["train"]["looked_at"] == found["samples"]["train"]


def test_texts_are_examined(tmp_path: Path) -> None:
    planted = [
        *rows(),
        ("train text number 1", "b", "train"),  # as it is there
        ("train text number 2", "b", "val"),  # where it is of class a
        ("... !", "a", "test"),
        ("word " * 300, "a", "val"),
    ]
    found = look(texts(tmp_path / "t.csv", planted))
    copies = {name: (one["samples"], one["relabelled"]) for name, one in found["copies"].items()}
    assert copies == {"train/train": (1, 0), "train/val": (1, 1), "train/test": (0, 0), "val/test": (0, 0)}
    assert found["contents"]["test"]["blank"]["names"][0].endswith("has no letter or digit")
    (extremes,) = found["extremes"]
    assert extremes["unit"] == "characters" and {name: one["count"] for name, one in extremes["splits"].items()} == {
        "val": 1
    }
    assert any(
        "1 of 12 validation texts is also in train, 1 of them with another" in one for one in list_sentences(found)
    )


def test_a_saved_set_is_examined(tmp_path: Path) -> None:
    import datasets

    texts = [f"text {number}" for number in range(11)] + ["text 3"]
    one = datasets.Dataset.from_dict({"text": texts, "label": [str(number % 2) for number in range(12)]})
    datasets.DatasetDict({"train": one, "validation": one, "test": one}).save_to_disk(str(tmp_path / "set"))
    found = look(make("data/hf_text", path=str(tmp_path / "set"), preprocess=TextBytes(20), token_cache=None))
    assert found["copies"]["train/train"]["samples"] == 1 and found["copies"]["train/val"]["samples"] == 12
    assert not found["failed"]


def test_recordings_are_examined(tmp_path: Path) -> None:
    data = make("data/audiofolder", root=str(plant_recordings(tmp_path)), preprocess=Mel(16000, bands=20), seconds=1.0)
    found = look(data)
    assert found["copies"]["train/val"] == Copies(
        samples=1, relabelled=1, pairs=[("train/high/2.wav", "val/low/leaked.wav")]
    )
    train = found["contents"]["train"]
    assert train["unusable"]["names"][0].startswith("train/low/silent.wav is silent in its first 0.5 s")
    assert train["blank"]["count"] == 0 and train["looked_at"] == 9
    (extremes,) = found["extremes"]
    assert extremes["unit"] == "seconds" and extremes["splits"]["test"]["names"] == ["test/high/long.wav"]
    assert any("test/high/long.wav" in one and "6 seconds" in one for one in list_sentences(found))


def own(found: Any, **options: Any) -> DataModule:
    return make("data/own", found=found, batch_size=8, preprocess=AsGiven((6,)), **options)


def random_pair(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), torch.arange(count) % 3


def test_tensors_are_examined() -> None:
    train, val, test = (random_pair(30, seed) for seed in range(3))
    train[0][4], train[0][5, 2] = 1.5, float("nan")
    val[0][7] = train[0][9]
    found = look(own({"train": train, "val": val, "test": test}))
    assert found["modality"] == "own" and found["copies"]["train/val"]["pairs"] == [("train/9", "val/7")]
    contents = found["contents"]["train"]
    assert contents["blank"]["names"] == ["train/4 holds one number alone, over and over"]
    assert contents["unusable"]["names"][0].startswith("train/5 holds values that are no numbers")
    assert found["copies"]["train/val"]["relabelled"] == 1  # 9 is of class 0, 7 of class 1


class Trembling(Dataset):
    """A dataset that augments, and that fails from some reading on."""

    def __init__(self, noise: float, fails_after: int | None = None) -> None:
        self.pair, self.noise, self.fails_after, self.reads = random_pair(30, 0), noise, fails_after, 0

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        if self.fails_after is not None and self.reads > self.fails_after and index == 3:
            raise OSError("the server is gone\x1b[2J")
        return self.pair[0][index] + self.noise * torch.randn(6), int(self.pair[1][index])


def test_of_augmented_samples_it_is_said_that_copies_cannot_be_seen() -> None:
    found = look(own({"train": Trembling(0.1), "val": random_pair(12, 1), "test": random_pair(12, 1)}))
    assert found["failed"] == [{"part": "copies", "reason": "the samples of train are others each time they are read"}]
    assert set(found["copies"]) == {"val/test"} and found["copies"]["val/test"]["samples"] == 12
    first, second, *_ = list_sentences(found)
    assert first.startswith("Whether samples are copies of others could not be looked at: the samples of train are")
    assert second.startswith("12 of 12 test samples are also in val")


def test_a_dataset_that_raises_costs_nothing_of_the_rest() -> None:
    data = own({"train": Trembling(0.1, fails_after=400), "val": random_pair(12, 1), "test": random_pair(12, 2)})
    data.splits["train"].find_oddities(torch.arange(3))
    source: Any = data.splits["train"]
    source._samples.found.reads = 1000
    found = look(data)
    assert found["contents"]["train"]["looked_at"] == 30 and found["contents"]["train"]["unusable"]["count"] == 1
    (name,) = found["contents"]["train"]["unusable"]["names"]
    assert name.startswith("train/3 cannot be read") and "the server is gone\\x1b[2J" in name
    assert found["contents"]["val"]["looked_at"] == 12 and found["samples"]["train"] == 30


class Bare:
    """A split of a user's own class, with what a run needs of it and nothing more."""

    def __init__(self, split: Any) -> None:
        self.labels, self.names, self._split = split.labels, split.names, split

    def __len__(self) -> int:
        return len(self.names)


def test_splits_of_a_class_that_tells_little_are_counted_all_the_same() -> None:
    data = own({"train": random_pair(30, 0), "val": random_pair(12, 1), "test": random_pair(12, 1)})
    data.splits["train"] = Bare(data.splits["train"])  # type: ignore[assignment]
    found = look(data)
    assert found["samples"] == {"train": 30, "val": 12, "test": 12} and found["classes"]
    assert set(found["copies"]) == {"val/test"}
    assert {one["part"] for one in found["failed"]} == {"copies", "sizes", "contents"}
    assert all("'Bare' object has no attribute" in one["reason"] for one in found["failed"])


def test_the_work_is_bounded_and_what_was_not_decoded_is_said(tmp_path: Path, preprocess: Pixels) -> None:
    found = look(images(write_pictures(tmp_path), preprocess), seconds=0.0)
    assert {one["looked_at"] for one in found["contents"].values()} == {1}
    assert any(
        one.startswith("There was time to decode 1 of 16 training images, 1 of 12 validation images and 1 of 12 test")
        for one in list_sentences(found)
    )


def test_names_are_shown_as_one_harmless_line(tmp_path: Path, preprocess: Pixels) -> None:
    root = write_pictures(tmp_path)
    content = (root / "train/cat/0.png").read_bytes()
    (root / "val/cat" / "evil\x1b[2J\n<b>.png").write_bytes(content)
    found = look(images(root, preprocess))
    assert found["copies"]["train/val"]["pairs"] == [("train/cat/0.png", "val/cat/evil\\x1b[2J\\n<b>.png")]
    assert all(one.isprintable() for one in list_sentences(found))


def test_a_thousand_images_take_well_under_two_seconds(tmp_path: Path, preprocess: Pixels) -> None:
    for index in range(1000):
        split = ("train", "train", "val", "test")[index % 4]
        write_picture(tmp_path / split / ("cat", "dog")[index // 4 % 2] / f"{index}.png", index, (64, 48))
    data = images(tmp_path, preprocess, index=DataIndex(tmp_path / "index", str(tmp_path)))
    began = time.perf_counter()
    found = look(data, seconds=2.0)
    assert time.perf_counter() - began < 3.0  # on a machine that others use; alone it takes a tenth of this
    assert sum(one["looked_at"] for one in found["contents"].values()) >= 500


@pytest.mark.parametrize(
    ("task", "labels", "classes"),
    [("multilabel", ["a;b", "b;c", "a", "c;a", "b"], True), ("regression", ["1.5", "2", "3", "7", "0"], False)],
)
def test_tasks_of_another_kind_are_examined(tmp_path: Path, task: str, labels: list[str], classes: bool) -> None:
    planted = [
        (f"{split} {index}", labels[index % 5], split) for split in ("train", "val", "test") for index in range(10)
    ]
    kind = make(f"task/{task}")
    found = look(texts(tmp_path / "t.csv", [*planted, ("train 1", labels[0], "val")], task=kind), task)
    assert (found["classes"] is not None) is classes and found["needed"] == [] and not found["failed"]
    assert (found["copies"]["train/val"]["samples"], found["copies"]["train/val"]["relabelled"]) == (1, 1)


def counted(task: Task, **splits: dict[str, int]) -> Any:
    return count_classes(splits, task)


def test_classes_are_counted() -> None:
    train, val = {"a": 90, "b": 9, "c\n": 30}, {"a": 5, "b": 4, "c\n": 0}
    found = counted(make("task/multiclass"), train=train, val=val, test=dict.fromkeys(train, 3))
    assert (found["largest"], found["smallest"], found["skew"]) == (("a", 90), ("b", 9), 10)
    assert found["few"] == ["b"] and found["missing"] == {"val": ["c\\n"], "test": []}
    assert counted(make("task/ctc"), train={"a": 3}, val={}, test={}) is None
