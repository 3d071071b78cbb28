"""Pictures of one colour are seen where they are decoded, in every mode, and fine patterns are not taken for them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline.data.image.headers import Limits, look

LIMITS = Limits(10**6, 0)


@pytest.mark.parametrize("kind", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_a_picture_of_one_colour_is_seen_in_every_mode(tmp_path: Path, kind: str) -> None:
    one = Image.new(kind, (40, 30), 1)
    other = one.copy()
    other.putpixel((39, 29), (0, 0, 0, 0)[: len(one.getbands())] if len(one.getbands()) > 1 else 0)
    for name, image in (("one", one), ("other", other)):
        image.save(tmp_path / f"{name}.tif")
    found = [look(str(tmp_path / f"{name}.tif"), LIMITS, decode=True) for name in ("one", "other")]
    assert [(each.reason, each.flat) for each in found] == [(None, True), (None, False)]
    assert not look(str(tmp_path / "one.tif"), LIMITS, decode=False).flat


def test_a_fine_pattern_in_a_jpeg_is_no_single_colour(tmp_path: Path) -> None:
    """It is lost where the file is decoded at an eighth of its size."""
    rows, columns = np.indices((64, 64))
    pattern = np.where((rows + columns) % 2 == 0, 96, 160).astype(np.uint8)
    Image.fromarray(pattern).save(tmp_path / "pattern.jpg", quality=95)
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(tmp_path / "plain.jpg")
    with Image.open(tmp_path / "pattern.jpg") as image:
        image.draft("L", (1, 1))
        assert len(np.unique(np.asarray(image))) == 1
    found = [look(str(tmp_path / f"{name}.jpg"), LIMITS, decode=True) for name in ("pattern", "plain")]
    assert [each.flat for each in found] == [False, True]
