"""Checkpoints and manifests of any other shape, as a stranger may have written them, get one sentence."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from frostline.errors import UserError
from frostline.files.atomic import sha256_file, write_json
from frostline.training.checkpoint import Checkpoints, decode, encode


def row(**changes: Any) -> dict[str, Any]:
    return {"epoch": 0, "file": "epoch-00000.safetensors", "sha256": "0" * 64, "best": True, **changes}


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"3",
        b'"saved"',
        b'{"saved": 3}',
        b'{"saved": [3]}',
        b'{"saved": [{}]}',
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"saved": [row(file=3)]}).encode(),
        json.dumps({"saved": [row(sha256=None)]}).encode(),
        json.dumps({"saved": [row(epoch="x")]}).encode(),
        json.dumps({"saved": [], "pause": 3}).encode(),
    ],
)
def test_a_manifest_of_any_other_shape_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    for act in (Checkpoints(tmp_path).load_best, Checkpoints(tmp_path).load_latest, Checkpoints(tmp_path).load_pause):
        with pytest.raises(UserError, match=r"manifest\.json is damaged"):
            act()


@pytest.mark.parametrize("name", ["../file", "a/../../file", "ABSOLUTE", "", ".."])
def test_a_manifest_leads_to_files_beside_it_alone(tmp_path: Path, name: str) -> None:
    """A stranger may have written it."""
    (tmp_path / "checkpoints" / "a").mkdir(parents=True)
    (tmp_path / "file").write_bytes(encode({"epoch": 0}))
    listed = row(file=name.replace("ABSOLUTE", str(tmp_path / "file")), sha256=sha256_file(tmp_path / "file"))
    write_json(tmp_path / "checkpoints" / "manifest.json", {"saved": [listed]})
    assert Checkpoints(tmp_path / "checkpoints").load_best() is None


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """Promise 34."""
    checkpoints = Checkpoints(tmp_path)
    for epoch in (0, 1):
        checkpoints.save(epoch, {"epoch": epoch}, best=epoch == 1)
    (tmp_path / "epoch-00001.safetensors").unlink()
    os.mkfifo(tmp_path / "epoch-00001.safetensors")
    assert checkpoints.load_best() is None
    assert checkpoints.load_latest() == {"epoch": 0}
    (tmp_path / "manifest.json").unlink()
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(UserError, match=r"manifest\.json is damaged .*is a pipe, not a file"):
        checkpoints.load_latest()


@pytest.mark.parametrize(
    "tree", ["3", "[]", "{", "null", '{"dict": 3}', '{"tensor": "x"}', '{"tensor": []}', "[" * 9999]
)
def test_a_checkpoint_of_any_other_shape_is_named(tmp_path: Path, tree: str) -> None:
    (tmp_path / "file").write_bytes(save({"0": torch.ones(1)}, {"tree": tree}))
    with pytest.raises(UserError, match="is not a Frostline checkpoint"):
        decode(tmp_path / "file")
