"""Counting FLOPs: torch's own counter, with what it leaves out or gets wrong put right."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import mha
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop, sdpa_flop_count

aten = torch.ops.aten


@contextmanager
def count_flops() -> Iterator[FlopCounterMode]:
    """Count the FLOPs (a multiplication and an addition are two) of what runs inside, with the counter it yields.

    torch's counter (2.14) knows no LSTM and no attention on the CPU, nor the one kernel that its own attention layer
    runs in inference (torchvision's ViT has that layer), and takes the gradient of a grouped convolution's weights for
    ``groups`` times what it is: 40 times the whole cost of a small EfficientNet.
    """
    corrections = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        aten.convolution_backward: _convolution_backward,
        aten.lstm: _lstm,
        aten.mkldnn_rnn_layer: _lstm_layer,
        aten.mkldnn_rnn_layer_backward: _lstm_layer_backward,
        aten._cudnn_rnn: _recurrence,
        aten._cudnn_rnn_backward: _recurrence_backward,
    }
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False, custom_mapping=corrections)
        counter.mod_tracker = _NoModules()  # type: ignore[assignment]
        with counter:
            yield counter
    finally:
        mha.set_fastpath_enabled(fast)


class _NoModules:
    """In place of torch's tracker of modules, which fails where a parameter is an argument and no gradient wanted."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *rest: Any, **named: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return sdpa_backward_flop(grad, query, key, value)


def _recurrence(inputs: Sequence[int], weights: Sequence[Sequence[int]], *rest: Any, **named: Any) -> int:
    """Every step of every sample [B, T, D] goes through every matrix once."""
    matrices = [shape for shape in weights if len(shape) == 2]
    return 2 * inputs[0] * inputs[1] * sum(rows * columns for rows, columns in matrices)


def _recurrence_backward(inputs: Sequence[int], weights: Sequence[Sequence[int]], *rest: Any, **named: Any) -> int:
    """There is a gradient of the inputs and one of the weights."""
    return 2 * _recurrence(inputs, weights)


def _lstm(inputs: Sequence[int], states: Any, weights: Sequence[Sequence[int]], *rest: Any, **named: Any) -> int:
    return _recurrence(inputs, weights)


def _lstm_layer(inputs: Sequence[int], *weights: Any, **named: Any) -> int:
    return _recurrence(inputs, weights[:2])


def _lstm_layer_backward(inputs: Sequence[int], *weights: Any, **named: Any) -> int:
    return _recurrence_backward(inputs, weights[:2])


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
