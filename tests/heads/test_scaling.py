"""Taps brought to one variance, and the head that reads them side by side."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.configs import make
from torch import Tensor

from frostline.errors import UserError
from frostline.heads import Scaling

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=6)
scales = st.floats(1e-4, 1e4)


def draw(widths: list[int], each: list[float], offset: float, samples: int) -> Tensor:
    """Return taps [N, D], each of its own scale, far from zero."""
    generator = torch.Generator().manual_seed(0)
    parts = [
        scale * (offset + torch.randn(samples, own, generator=generator))
        for own, scale in zip(widths, each, strict=True)
    ]
    return torch.cat(parts, dim=1)


def measure_variances(scaling: Scaling, taps_ND: Tensor) -> list[float]:
    """Return the variance of each tap in all, once it is scaled."""
    variance_D = torch.var(scaling(taps_ND).double(), dim=0, correction=0)
    return [float(part.sum()) for part in variance_D.split(scaling.widths)]


@given(widths=sizes, data=st.data(), offset=st.floats(-100, 100), samples=st.integers(2, 20))
def test_after_a_fit_every_tap_has_the_same_variance_and_their_mean_number_has_1(
    widths: list[int], data: st.DataObject, offset: float, samples: int
) -> None:
    each = data.draw(st.lists(scales, min_size=len(widths), max_size=len(widths)))
    taps_ND = draw(widths, each, offset, samples)
    scaling = Scaling(widths)
    assert not scaling.fitted and torch.equal(scaling(taps_ND), taps_ND)
    scaling.fit([taps_ND])
    assert scaling.fitted
    assert measure_variances(scaling, taps_ND) == pytest.approx([sum(widths) / len(widths)] * len(widths), rel=1e-2)
    assert scaling(taps_ND).mean(dim=0).abs().max() < 1e-2


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), offset=st.floats(-1e4, 1e4, width=32))
def test_samples_in_chunks_are_measured_as_all_at_once(sizes: list[int], offset: float) -> None:
    taps_ND = draw([3, 2], [1.0, 100.0], offset, sum(sizes) + 1)
    whole, parts = Scaling([3, 2]), Scaling([3, 2])
    whole.fit([taps_ND])
    parts.fit(taps_ND.split([1, *sizes]))
    torch.testing.assert_close(parts.centre, whole.centre, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts.factors, whole.factors, rtol=1e-6, atol=0)


@given(value=st.floats(-1e6, 1e6, width=32), other=scales)
def test_a_tap_that_does_not_vary_is_not_read(value: float, other: float) -> None:
    taps_ND = torch.cat([torch.full((7, 3), value), draw([2], [other], 0.0, 7)], dim=1)
    scaling = Scaling([3, 2])
    scaling.fit([taps_ND])
    assert scaling.factors[0] == 0 < scaling.factors[1]
    assert torch.equal(scaling(taps_ND)[:, :3], torch.zeros(7, 3)) and scaling(taps_ND).isfinite().all()


def test_taps_are_scaled_then_read_by_one_layer_that_starts_undecided() -> None:
    head = make("head/taps", features=5, classes=3, widths=[3, 2], frames=False)
    taps_ND = draw([3, 2], [1.0, 1000.0], 2.0, 6)
    assert head.solver == "lbfgs" and torch.equal(head(taps_ND), torch.zeros(6, 3))
    head.scaling.fit([taps_ND])
    torch.nn.init.normal_(head.linear.weight)
    torch.testing.assert_close(head(taps_ND), head.scaling(taps_ND) @ head.linear.weight.T)
    assert "scaling.factors" in head.state_dict(), "what was measured goes with the weights"


@pytest.mark.parametrize("name", ["taps", "attentive"])
def test_a_head_on_samples_refuses_frames(name: str) -> None:
    with pytest.raises(UserError, match=rf"^head={name} answers once a sample.* choose head=layer_mix or head=ctc\.$"):
        make(f"head/{name}", features=5, classes=3, widths=[3, 2], frames=True)
