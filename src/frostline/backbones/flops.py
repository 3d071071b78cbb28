"""Counting FLOPs: torch's own counter, with what it leaves out or gets wrong put right."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import mha
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop, sdpa_flop_count

aten = torch.ops.aten


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count the FLOPs (a multiplication and an addition are two) of what runs inside, with the counter it yields.

    torch's counter (2.14) knows no attention on the CPU, nor the one kernel that its own attention layer runs in
    inference (torchvision's ViT has that layer), and takes the gradient of a grouped convolution's weights for
    ``groups`` times what it is: 40 times the whole cost of a small EfficientNet.
    """
    corrections = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        aten.convolution_backward: _convolution_backward,
    }
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=corrections) as counter:
            yield counter
    finally:
        mha.set_fastpath_enabled(fast)


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *rest: Any, **named: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return sdpa_backward_flop(grad, query, key, value)


def _convolution_backward(
    grad_out: Sequence[int],
    inputs: Sequence[int],
    weight: Sequence[int],
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    wanted: Sequence[bool],
    **named: Any,
) -> int:
    """Either gradient, of the inputs or of the weights, has as many products to sum as the forward pass."""
    forward = conv_flop_count(list(inputs), list(weight), list(grad_out), transposed=transposed)
    return forward * (int(wanted[0]) + int(wanted[1]))
