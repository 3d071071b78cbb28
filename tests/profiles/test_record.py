"""A profile on disk: which folder it has, and what is no profile is named with its field."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.profile_contents import make_content
from tests.small_runs import make_run

from frostline.errors import UserError
from frostline.profiles.record import find_profile_folder, read_profile


def test_a_folder_is_named_by_what_a_profile_depends_on(tmp_path: Path) -> None:
    def find(*overrides: str) -> Path:
        return find_profile_folder(make_run(tmp_path, *overrides)[0])

    same = {find(), find("epochs=7"), find("optimizer.lr=0.1"), find("head=mlp"), find("launcher.threads=3")}
    other = {find("seed=1"), find("data.num_per_class=5"), find("monitor=f1"), find("backbone.name=test_vit")}
    assert len(same) == 1 and len(other | same) == 5
    assert same.pop().parent == tmp_path / "profiles"


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_profile(tmp_path) is None and read_profile(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "format is 99"),
        ({"best": 5}, "best is 5, and there are 5 taps"),
        ({"best": -1}, "best is -1"),
        ({"taps": [{"name": 3}]}, r"taps\[0\].name is 3, not text"),
        ({"metric": {}}, "metric.name is missing"),
        (
            {"classes": [{"name": "a", "n": 1, "recalls": [1.0], "best": 0, "near": 0, "alike": 0}]},
            "1 values for 5 taps",
        ),
        ({"agreement": {"logme": {"n": 1}}}, "agreement.logme.tau is missing"),
    ],
)
def test_a_damaged_one_is_named_with_its_field(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(json.dumps({**make_content(), **change}))
    with pytest.raises(UserError, match=rf"profile\.json: this is no depth profile \(.*{said}"):
        read_profile(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_no_profile(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_bytes(content)
    with pytest.raises(UserError, match="this is no depth profile"):
        read_profile(tmp_path)
