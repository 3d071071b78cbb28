"""Weights files: read without executing anything, loaded strictly with both lists, hashed without regard to order."""

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from frostline.backbones.weights import fingerprint, load_strict, read_weights
from frostline.errors import UserError


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4))


class Canary:
    """A pickle that writes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_reads_each_format(tmp_path: Path, suffix: str) -> None:
    state = network().state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert fingerprint(read_weights(path)) == fingerprint(state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_takes_off_wrappers_and_a_common_prefix(tmp_path: Path, wrapper: str) -> None:
    state = network().state_dict()
    wrapped = {"epoch": 3, wrapper: {f"module.{name}": value for name, value in state.items()}}
    torch.save(wrapped, tmp_path / "weights.pth")
    assert fingerprint(read_weights(tmp_path / "weights.pth")) == fingerprint(state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path, suffix: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"weight": Canary(canary)}, path)
    else:
        path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(UserError, match=r"^backbone\.weights: .*weights\."):
        read_weights(path)
    assert not canary.exists()


def test_a_plain_pickle_with_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Canary(tmp_path / "canary"), protocol=2))
    with pytest.raises(UserError, match=r"nothing in it was executed"):
        read_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(network().state_dict(), path) if suffix == ".safetensors" else torch.save(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=rf"^backbone\.weights: .*weights\{suffix}"):
        read_weights(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("https://example.com/weights.pth", "is a URL"),
        ("nowhere/weights.pth", "there is no file"),
        ("weights.ckpt", "is not a weights file"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(path: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^backbone\.weights: .*{reason}"):
        read_weights(path)


@pytest.mark.parametrize("content", [{}, [torch.zeros(2)], torch.zeros(2), {"weight": 3}, {"weight": [torch.zeros(1)]}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"^backbone\.weights: .*give a state dict"):
        read_weights(tmp_path / "weights.pth")


NAMES = sorted(network().state_dict())


@given(removed=st.sets(st.sampled_from(NAMES)), added=st.sets(st.sampled_from(["extra", "9.weight"])))
def test_what_does_not_fit_is_listed_on_both_sides_and_nothing_is_loaded(removed: set[str], added: set[str]) -> None:
    target = network()
    before = fingerprint(target.state_dict())
    state = {name: value for name, value in network().state_dict().items() if name not in removed}
    state |= {name: torch.zeros(1) for name in added}
    removed = removed - {"1.num_batches_tracked"}  # torch itself starts this counter at 0
    if not removed | added:
        assert load_strict(target, state, []) == []
        return
    with pytest.raises(UserError) as error:
        load_strict(target, state, [])
    missing, unexpected = str(error.value).split("; unexpected: ")
    assert all(name in missing for name in removed) and all(name in unexpected for name in added)
    assert fingerprint(target.state_dict()) == before


def test_another_shape_is_named_with_both_shapes() -> None:
    state = network().state_dict() | {"2.weight": torch.zeros(5, 3)}
    with pytest.raises(UserError, match=r"2\.weight \[5, 3\] instead of \[4, 3\]"):
        load_strict(network(), state, ["2"])


def test_only_the_classifier_is_left_out_and_that_is_said() -> None:
    state = network().state_dict() | {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}
    assert load_strict(network(), state, ["fc"]) == ["left out the classifier of 10 classes: fc.weight, fc.bias"]
    with pytest.raises(UserError, match=r"missing: none; unexpected: fc\.weight, fc\.bias"):
        load_strict(network(), state, ["head"])


def test_a_fingerprint_sees_names_types_shapes_and_bytes_but_not_order_or_layout() -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    base = {"a": image, "b": torch.tensor(3)}
    same = {"b": torch.tensor(3), "a": image.contiguous(memory_format=torch.channels_last)}
    assert fingerprint(base) == fingerprint(same)
    others = [{**base, "a": image + 1}, {**base, "a": image.double()}, {**base, "a": image.reshape(1, 2, 4, 3)}]
    others += [{"c": image, "b": base["b"]}, {"a": image}]
    assert len({fingerprint(state) for state in [base, *others]}) == 6
    assert fingerprint({"half": torch.ones(2, dtype=torch.bfloat16), "none": torch.zeros(0)})
