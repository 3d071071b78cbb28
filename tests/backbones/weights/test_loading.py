"""Weights are loaded strictly, with both lists, and refused where they are no numbers; hashes know no order."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sample_files import named, network, state, write
from torch import nn

from frostline.backbones.weights.loading import fingerprint, load_strict, load_weights
from frostline.errors import UserError


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
