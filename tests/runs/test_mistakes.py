"""The test samples that a run was surest of and got wrong."""

import io
from pathlib import Path

import pytest
from PIL import Image
from tests.finished_runs import rows
from tests.small_runs import run


def test_the_surest_mistakes_are_kept_with_their_pictures(tmp_path: Path) -> None:
    record, folder = run(tmp_path, "freeze=linear_probe")
    own = {row["sample"]: row for row in rows(folder / "predictions.csv")}
    wrong = {name: row for name, row in own.items() if row["label"] != row["prediction"]}
    found = record["mistakes"]
    assert len(found) == 12 <= len(wrong)
    surest = sorted((float(row[f"p({row['prediction']})"]) for row in wrong.values()), reverse=True)
    assert [one["probability"] for one in found] == pytest.approx(surest[:12], rel=1e-4)
    images = {}
    for number, one in enumerate(found):
        row = wrong[one["sample"]]
        assert (one["label"], one["prediction"]) == (row["label"], row["prediction"])
        assert one["picture"] == f"mistakes/{number:02d}.png"
        images[one["sample"]] = Image.open(io.BytesIO((folder / one["picture"]).read_bytes()))
    assert {image.size for image in images.values()} == {(32, 32)}
    assert len({image.tobytes() for image in images.values()}) == 12, "each its own picture"
