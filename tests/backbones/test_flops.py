"""FLOPs where torch's own counter goes wrong."""

import torch
from torch import nn
from torch.nn import functional

from frostline.backbones.flops import count_flops


def test_attention_is_counted_on_any_device() -> None:
    query = torch.rand(1, 2, 7, 8, requires_grad=True)
    with count_flops() as counter:
        value = functional.scaled_dot_product_attention(query, query, query)
    assert counter.get_total_flops() == 2 * (2 * 2 * 7 * 7 * 8)
    with count_flops() as counter:
        value.sum().backward()
    assert counter.get_total_flops() >= 2 * (2 * 2 * (2 * 7 * 7 * 8))


def test_the_gradient_of_a_grouped_convolution_costs_no_more_than_it_does() -> None:
    layer, images = nn.Conv2d(6, 6, 3, padding=1, groups=6), torch.rand(2, 6, 5, 5, requires_grad=True)
    with count_flops() as counter:
        value = layer(images)
    forward = counter.get_total_flops()
    assert forward == 2 * (2 * 6 * 25 * 9)
    with count_flops() as counter:
        value.sum().backward()
    assert counter.get_total_flops() == 2 * forward, "once for the weights, once for the images"


def test_an_attention_layer_of_torchs_own_is_counted_in_inference_too() -> None:
    """In eval mode it runs in one kernel, of which torch's counter knows nothing."""
    layer, tokens = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.rand(1, 5, 8)
    with torch.inference_mode(), count_flops() as counter:
        layer(tokens, tokens, tokens, need_weights=False)
    projections, attention = 4 * (2 * 5 * 8 * 8), 2 * (2 * 5 * 5 * 8)
    assert counter.get_total_flops() == projections + attention
