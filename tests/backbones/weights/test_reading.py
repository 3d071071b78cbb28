"""Files of weights: nothing in them is executed, and none takes more memory than its size allows."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from tests.sample_files import loaded, named, network, state, write
from torch import Tensor

from frostline.backbones.weights.loading import fingerprint, load_weights
from frostline.errors import UserError
from frostline.training.checkpoint import encode

SUFFIXES = [".safetensors", ".pth", ".pt", ".bin", ".ckpt"]


class Canary:
    """A pickle that writes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_each_format(tmp_path: Path, suffix: str) -> None:
    assert loaded(write(tmp_path / f"weights{suffix}", state())) == (fingerprint(state()), [])


def test_the_checkpoint_of_a_run_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "epoch-00000.safetensors").write_bytes(encode({"weights": {"backbone": state()}}))
    with pytest.raises(UserError, match=r"is a checkpoint of a run.*frostline export"):
        load_weights(network(), tmp_path / "epoch-00000.safetensors", [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path, suffix: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"weights{suffix}"
    if suffix != ".safetensors":
        torch.save({"weight": torch.ones(1), "hyper_parameters": Canary(canary)}, path)
    else:
        path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(UserError, match=r"^backbone\.weights: .*weights\.") as error:
        load_weights(network(), path, [])
    assert not canary.exists()
    assert suffix == ".safetensors" or "pathlib" in str(error.value), "what it holds besides tensors is named"


def test_a_plain_pickle_with_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Canary(tmp_path / "canary"), protocol=2))
    with pytest.raises(UserError, match=r"nothing in it was executed"):
        load_weights(network(), tmp_path / "weights.pth", [])
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path / f"weights{suffix}", state())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=rf"^backbone\.weights: .*weights\{suffix}"):
        load_weights(network(), path, [])


def most_memory() -> int:
    """Return the most bytes that this process has had in memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


LARGE = 400_000_000


def swollen(path: Path) -> None:
    """Write a file of torch's whose tensor is compressed, as torch itself never does."""
    torch.save({"weight": torch.zeros(LARGE // 8, dtype=torch.float64)}, path)
    plain = path.with_suffix(".plain")
    path.rename(plain)
    with zipfile.ZipFile(plain) as read, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for entry in read.infolist():
            with read.open(entry) as source, written.open(entry.filename, "w") as target:
                while piece := source.read(1 << 20):
                    target.write(piece)
    plain.unlink()


def test_a_file_that_swells_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    """Promise 44."""
    path = tmp_path / "weights.pth"
    swollen(path)
    assert path.stat().st_size < LARGE / 100
    before = most_memory()
    with pytest.raises(UserError, match=r"weights\.pth would swell from [\d,]+ to 400,[\d,]+ bytes"):
        load_weights(network(), path, [])
    assert most_memory() - before < LARGE / 10


def test_members_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "weights.pth", {f"{place}": torch.full((30_000,), float(place)) for place in range(9)})
    with zipfile.ZipFile(path, "a") as archive:
        large = max(archive.infolist(), key=lambda entry: entry.file_size)
        for entry in archive.infolist():
            if entry is not large and "/data/" in entry.filename:
                entry.header_offset = large.header_offset
        archive.infolist()[-1].compress_size = archive.infolist()[-1].file_size = 2_000_000
        archive.comment = b"x"  # so that the list is written again
        archive.comment = b""
    with pytest.raises(UserError, match=r"weights\.pth would swell"):
        load_weights(network(), path, [])


def test_one_value_that_stands_for_many_is_refused(tmp_path: Path) -> None:
    before = most_memory()
    for legacy in (False, True):
        path = tmp_path / "weights.pth"
        torch.save(
            named("model.", {"0.weight": torch.zeros(1).expand(10**11)}),
            path,
            _use_new_zipfile_serialization=not legacy,
        )
        with pytest.raises(UserError, match=r"would swell"):
            load_weights(network(), path, [])
    assert most_memory() - before < LARGE / 10


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "odd",
    [
        torch.eye(3).to_sparse(),
        torch.zeros(3, device="meta"),
    ],
    ids=["sparse", "meta"],
)
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path: Path, odd: Tensor) -> None:
    with pytest.raises(UserError, match=r"weights\.pth holds tensors that are sparse.*: 0\.weight"):
        load_weights(network(), write(tmp_path / "weights.pth", {"0.weight": odd}), [])


@pytest.mark.parametrize("length", [2**62, 10**9, 50])
def test_a_header_that_claims_too_much_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "weights.safetensors"
    table = b'{"0.weight": {"dtype": "F32", "shape": [100000000000], "data_offsets": [0, 400000000000]}}'
    path.write_bytes(min(length, 2**63).to_bytes(8, "little") + table)
    before = most_memory()
    with pytest.raises(UserError, match=r"weights\.safetensors is not a whole safetensors file"):
        load_weights(network(), path, [])
    assert most_memory() - before < LARGE / 10


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_file_is_named_without_being_opened(tmp_path: Path, suffix: str) -> None:
    """Promise 34."""
    pipe, link = tmp_path / f"pipe{suffix}", tmp_path / f"link{suffix}"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    (tmp_path / f"folder{suffix}").mkdir()
    for name, kind in (("pipe", "pipe"), ("link", "device"), ("folder", "folder")):
        with pytest.raises(UserError, match=rf"^backbone\.weights: .*{name}\{suffix} is a {kind}, not a file"):
            load_weights(network(), tmp_path / f"{name}{suffix}", [])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("https://example.com/weights.pth", "is a URL"),
        ("nowhere/weights.pth", "there is no file"),
        ("weights.onnx", "is not a weights file"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(path: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^backbone\.weights: .*{reason}"):
        load_weights(network(), path, [])


@pytest.mark.parametrize("content", [{}, [torch.zeros(2)], torch.zeros(2), {"weight": 3}, {"weight": [torch.zeros(1)]}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"^backbone\.weights: .*give a state dict"):
        load_weights(network(), tmp_path / "weights.pth", [])


def test_a_program_of_torchscript_is_named_as_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        for name in ("archive/data.pkl", "archive/constants.pkl"):
            archive.writestr(name, b"\x80\x02}q\x00.")
    with pytest.raises(UserError, match="is a TorchScript program"):
        load_weights(network(), tmp_path / "weights.pt", [])


@pytest.mark.parametrize("claimed", [2**31 - 1, 500_000_000])
def test_an_older_file_that_claims_more_than_it_holds_takes_no_memory(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"0.weight": torch.zeros(77_777)}, path, _use_new_zipfile_serialization=False)
    size = (77_777).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(b"J" + size) > 1
    path.write_bytes(content.replace(b"J" + size, b"J" + claimed.to_bytes(4, "little")))
    before = most_memory()
    with pytest.raises(UserError, match=r"weights\.pth (is damaged|would swell)"):
        load_weights(network(), path, [])
    assert most_memory() - before < LARGE / 10
