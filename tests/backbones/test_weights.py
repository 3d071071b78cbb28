"""Weights files: read without executing anything, loaded strictly with both lists, hashed without regard to order."""

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from frostline.backbones.weights import fingerprint, load_strict, load_weights
from frostline.errors import UserError
from frostline.training.checkpoint import encode

SUFFIXES = [".safetensors", ".pth", ".pt", ".bin", ".ckpt"]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4))


def state(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return network().state_dict()


def write(path: Path, content: Mapping[str, Any]) -> Path:
    save_file(dict(content), path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


def loaded(path: Path) -> tuple[str, list[str]]:
    """Load a file; return the fingerprint of what was loaded, and the notes."""
    target = network()
    notes = load_weights(target, path, [])
    return fingerprint(target.state_dict()), notes


class Canary:
    """A pickle that writes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_each_format(tmp_path: Path, suffix: str) -> None:
    assert loaded(write(tmp_path / f"weights{suffix}", state())) == (fingerprint(state()), [])


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
WRAPPED: dict[str, tuple[Any, str]] = {
    "state_dict": ({"epoch": 3, "state_dict": state()}, "state_dict"),
    "net": (named("net.", state()), "'net.' taken off"),
    "model": (named("model.", state()), "'model.' taken off"),
    "backbone and head": (
        {**named("backbone.", state()), "head.weight": torch.ones(2, 4)},
        "'backbone.' taken off; left out what is beside: head.weight",
    ),
    "encoder": ({"model": named("encoder.", state())}, "model, 'encoder.' taken off"),
    "compiled": (named("_orig_mod.", state()), "'_orig_mod.' taken off"),
    "distributed": ({"model": named("module.", state()), "optimizer": OPTIMIZER}, "model, 'module.' taken off"),
    "all of them": (named("module._orig_mod.model.", state()), "'module._orig_mod.model.' taken off"),
    "timm's average": ({"state_dict_ema": named("module.", state())}, "state_dict_ema, 'module.' taken off"),
    "an average": (
        {"averaged_model": {"n_averaged": torch.tensor(3), **named("module.", state())}},
        "averaged_model, 'module.' taken off; left out what is beside: n_averaged",
    ),
    "names of one's own": ({"a": {"b": named("my.own.", state())}}, "a.b, 'my.own.' taken off"),
    "a module of Lightning": (
        {
            "state_dict": named("model.", state()),
            "hyper_parameters": {"lr": 0.1, "layers": [1, 2]},
            "optimizer_states": [OPTIMIZER],
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "best_model_path": "x"}},
            "pytorch-lightning_version": "2.6.6",
        },
        "state_dict, 'model.' taken off",
    ),
    "the same twice": ({"model": state(), "model_ema": state()}, "model"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_a_training_program_wraps_weights_in_is_taken_off_and_said(tmp_path: Path, name: str) -> None:
    content, how = WRAPPED[name]
    path = write(tmp_path / "weights.ckpt", content)
    assert loaded(path) == (fingerprint(state()), [f"read weights.ckpt as: {how}"])


@given(
    prefix=st.lists(st.sampled_from(["net", "model", "module", "_orig_mod", "x"]), max_size=4),
    place=st.lists(st.sampled_from(["state_dict", "model", "ema", "y"]), max_size=3),
)
def test_any_nesting_of_dictionaries_and_prefixes_is_read(
    tmp_path_factory, prefix: list[str], place: list[str]
) -> None:
    content: dict[str, Any] = named("".join(f"{one}." for one in prefix), state())
    for key in reversed(place):
        content = {key: content, "step": 3}
    path = write(tmp_path_factory.mktemp("nested") / "weights.pth", content)
    assert loaded(path)[0] == fingerprint(state())


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": state(), "state_dict_ema": state(1)},
        {**named("student.", state()), **named("teacher.", state(1))},
        {"state_dict": {**named("model.", state()), **named("ema_model.module.", state(1))}},
    ],
)
def test_two_readings_that_differ_are_refused_by_name(tmp_path: Path, content: dict[str, Any]) -> None:
    target = network()
    before = fingerprint(target.state_dict())
    with pytest.raises(UserError, match=r"weights\.pth holds weights of this network more than once \(.*; .*\)"):
        load_weights(target, write(tmp_path / "weights.pth", content), [])
    assert fingerprint(target.state_dict()) == before


def test_where_no_reading_fits_all_are_listed_and_the_nearest_is_explained(tmp_path: Path) -> None:
    short = {name: value for name, value in state().items() if name != "2.bias"}
    content = {"state_dict": named("model.", {**short, "extra": torch.ones(1)}), "other": {"x": torch.ones(1)}}
    with pytest.raises(UserError) as error:
        load_weights(network(), write(tmp_path / "weights.pth", content), [])
    said = str(error.value)
    assert "of which state_dict, 'model.' taken off is nearest (missing: 2.bias; unexpected: extra)" in said
    assert "(state_dict; state_dict, 'model.' taken off; " in said and "; other" in said and "\n" not in said


def test_dictionaries_that_hold_each_other_are_read_in_bounded_time(tmp_path: Path) -> None:
    deep: dict[str, Any] = {"weight": torch.ones(1)}
    for _ in range(60):
        deep = {"a": deep, "b": deep}
    deep["self"] = deep
    with pytest.raises(UserError, match=r"^backbone\.weights: .*weights\.pth"):
        load_weights(network(), write(tmp_path / "weights.pth", deep), [])


def test_the_checkpoint_of_a_run_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "epoch-00000.safetensors").write_bytes(encode({"weights": {"backbone": state()}}))
    with pytest.raises(UserError, match=r"is a checkpoint of a run.*frostline export"):
        load_weights(network(), tmp_path / "epoch-00000.safetensors", [])


@pytest.mark.parametrize("kind", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_that_are_no_numbers_are_refused_by_name(
    tmp_path: Path, kind: str, name: str, dtype: torch.dtype
) -> None:
    """Promise 44."""
    broken = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state().items()}
    broken[name].view(-1)[-1] = float(kind)
    target = network()
    before = fingerprint(target.state_dict())
    with pytest.raises(UserError, match=rf"^backbone\.weights: NaN or infinite numbers stand in {re.escape(name)};"):
        load_weights(target, write(tmp_path / "weights.pth", named("model.", broken)), [])
    assert fingerprint(target.state_dict()) == before


class Masked(nn.Module):
    """A network whose buffer is a mask as attention adds it, with numbers that cannot be no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
        self.register_buffer("places", torch.arange(3))
        self.register_buffer("flags", torch.ones(2, dtype=torch.bool))
        self.register_buffer("wave", torch.ones(2, dtype=torch.complex64))
        self.register_buffer("small", torch.ones(2).to(torch.float8_e4m3fn))
        self.register_buffer("none", torch.empty(0))


def test_a_mask_of_infinities_and_integers_are_weights(tmp_path: Path) -> None:
    given = Masked().state_dict()
    target = Masked()
    assert load_weights(target, write(tmp_path / "weights.pth", given), []) == []
    assert torch.equal(target.get_buffer("mask"), given["mask"])
    for name, value in (("mask", torch.nan), ("wave", torch.inf), ("small", torch.nan)):
        broken = Masked().state_dict()
        broken[name].view(-1)[0] = value
        with pytest.raises(UserError, match=rf"stand in {name};"):
            load_weights(Masked(), write(tmp_path / "weights.pth", broken), [])


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


NAMES = sorted(network().state_dict())


@given(removed=st.sets(st.sampled_from(NAMES)), added=st.sets(st.sampled_from(["extra", "9.weight"])))
def test_what_does_not_fit_is_listed_on_both_sides_and_nothing_is_loaded(removed: set[str], added: set[str]) -> None:
    target = network()
    before = fingerprint(target.state_dict())
    given = {name: value for name, value in network().state_dict().items() if name not in removed}
    given |= {name: torch.zeros(1) for name in added}
    removed = removed - {"1.num_batches_tracked"}  # torch itself starts this counter at 0
    if not removed | added:
        assert load_strict(target, given, []) == []
        return
    with pytest.raises(UserError) as error:
        load_strict(target, given, [])
    missing, unexpected = str(error.value).split("; unexpected: ")
    assert all(name in missing for name in removed) and all(name in unexpected for name in added)
    assert fingerprint(target.state_dict()) == before


def test_another_shape_is_named_with_both_shapes() -> None:
    given = state() | {"2.weight": torch.zeros(5, 3)}
    with pytest.raises(UserError, match=r"2\.weight \[5, 3\] instead of \[4, 3\]"):
        load_strict(network(), given, ["2"])


def test_only_the_classifier_is_left_out_and_that_is_said() -> None:
    given = state() | {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}
    assert load_strict(network(), given, ["fc"]) == ["left out the classifier of 10 classes: fc.weight, fc.bias"]
    with pytest.raises(UserError, match=r"missing: none; unexpected: fc\.weight, fc\.bias"):
        load_strict(network(), given, ["head"])


def test_a_fingerprint_sees_names_types_shapes_and_bytes_but_not_order_or_layout() -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    base = {"a": image, "b": torch.tensor(3)}
    same = {"b": torch.tensor(3), "a": image.contiguous(memory_format=torch.channels_last)}
    assert fingerprint(base) == fingerprint(same)
    others = [{**base, "a": image + 1}, {**base, "a": image.double()}, {**base, "a": image.reshape(1, 2, 4, 3)}]
    others += [{"c": image, "b": base["b"]}, {"a": image}]
    assert len({fingerprint(one) for one in [base, *others]}) == 6
    assert fingerprint({"half": torch.ones(2, dtype=torch.bfloat16), "none": torch.zeros(0)})
