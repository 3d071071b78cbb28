"""What a person is told of data: what matters, in plain words, and nothing where nothing is wrong."""

from typing import Any

import pytest

from frostline.data.examination.facts import Classes, Copies, Examination, Needed, make_empty_examination
from frostline.data.examination.sentences import list_sentences


def examination(**found: Any) -> Examination:
    sound: Any = {"modality": "image", "samples": {"train": 1000, "val": 300, "test": 500}}
    return {**make_empty_examination(), **sound, **found}  # type: ignore[typeddict-item]


def classes(**values: Any) -> Classes:
    sound: Any = {"counts": {}, "largest": ("a", 10), "smallest": ("b", 9), "skew": 10 / 9, "few": [], "missing": {}}
    return {**sound, **values}  # type: ignore[return-value]


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    none = Copies(samples=0, relabelled=0, pairs=[])
    enough = [Needed(share=0.1, samples=200, least=0.009)]
    assert list_sentences(examination(copies={"train/val": none}, classes=classes(), needed=enough)) == []


@pytest.mark.parametrize(
    ("between", "copies", "said"),
    [
        (
            "train/val",
            Copies(samples=12, relabelled=3, pairs=[("a", "b")]),
            "12 of 300 validation images are also in train, 3 of them with another label; the score on val, by which "
            "candidates are chosen, says less than it seems; for example b (val) and a (train).",
        ),
        (
            "val/test",
            Copies(samples=1, relabelled=0, pairs=[("a", "b")]),
            "1 of 500 test images is also in val; the score on test says less than it seems; for example b (test) "
            "and a (val).",
        ),
        (
            "train/train",
            Copies(samples=7, relabelled=0, pairs=[("a", "b")]),
            "7 of 1,000 training images are copies of others there; they count more than once; for example b (train) "
            "and a (train).",
        ),
    ],
)
def test_copies_are_told(between: str, copies: Copies, said: str) -> None:
    assert list_sentences(examination(copies={between: copies})) == [said]


def test_small_and_missing_classes_are_told() -> None:
    found = classes(
        largest=("a", 900), smallest=("b", 12), skew=75.0, few=["b", "c"], missing={"val": ["d"], "test": []}
    )
    assert list_sentences(examination(classes=found)) == [
        "The largest class, a, has 900 training images, and the smallest, b, has 12: 75 times as many. A score over "
        "all samples says little of the small classes.",
        "What a score says of 2 classes with fewer than 5 validation images is mostly chance: b, c.",
        "There is no validation image of 1 class (d).",
    ]


def test_odd_samples_are_told_with_a_few_names() -> None:
    names = {"count": 9, "names": ["a", "b", "c", "d", "e"]}
    none = {"count": 0, "names": []}
    contents = {
        "train": {"looked_at": 1000, "unusable": none, "blank": names},
        "val": {"looked_at": 300, "unusable": {"count": 1, "names": ["x is damaged"]}, "blank": none},
        "test": {"looked_at": 100, "unusable": none, "blank": {"count": 1, "names": ["f"]}},
    }
    odd = {"unit": "pixels", "median": 1e6, "low": 9.0, "high": 5e7, "splits": {"val": names, "test": names}}
    assert list_sentences(examination(contents=contents, extremes=[odd])) == [
        "1 validation image cannot be used: x is damaged. Repair or remove them, or set data.on_bad=skip.",
        "There is nothing to go by in 9 training images and 1 test image: a; b; c; and 7 more.",
        "9 validation images and 9 test images are unlike the others, with from 9 to 50M pixels, where half of train "
        "have 1M or more: a; b; c; and 15 more.",
        "There was time to decode 100 of 500 test images; blank or damaged ones may be among the others.",
    ]


def test_the_samples_that_a_point_needs_are_told() -> None:
    (said,) = list_sentences(examination(needed=[Needed(share=0.1, samples=7847, least=0.0509)]))
    assert said == (
        "To show a difference of one point of accuracy takes about 7,847 validation images, where only one of two "
        "candidates answers right in 10% of them; the 300 that are there show one of about 5.1 points."
    )


def test_data_that_cannot_be_opened_are_told() -> None:
    found = {**make_empty_examination(), "failed": [{"part": "data", "reason": "OSError: gone."}]}
    assert list_sentences(found) == ["The data could not be looked at: OSError: gone."]  # type: ignore[arg-type]
