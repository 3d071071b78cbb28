"""A head that attends to a network's depths."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.errors import UserError
from frostline.heads.base import Head, refuse_frames, refuse_solver
from frostline.ranges import Count


class Attentive(Head):
    """One layer over what a learned query finds among depths, by attention of several heads: ``taps [B, D] -> logits``.

    ``features``, ``widths``, ``frames`` and ``taps`` are those of `Taps`. Each depth is brought to one variance,
    projected to ``width`` and given an embedding of its depth; ``heads`` queries weigh the depths anew for each sample.
    After attentive layer fusion, arXiv:2601.09322. Raises UserError for ``heads`` that do not divide ``width``.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        widths: Sequence[int],
        frames: bool,
        taps: str | Sequence[str] | None,
        width: Count,
        heads: Count,
        dropout: float,
        solver: str | None,
    ):
        super().__init__(solver, widths)
        refuse_frames(self, frames)
        refuse_solver(self)
        if width % heads:
            raise UserError(f"head.heads: {heads} is invalid: expected a number that divides head.width, {width}.")
        self.taps, self.widths, self.heads = taps, list(widths), heads
        self.projections = nn.ModuleList(nn.Linear(own, width) for own in widths)
        self.depths = nn.Parameter(0.02 * torch.randn(len(widths), width))
        self.query = nn.Parameter(torch.randn(heads, 1, width // heads))
        self.keys = nn.Linear(width, width, bias=False)  # a softmax does not see what all keys have
        self.values = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, taps_BD: Tensor) -> Tensor:
        parts = self.standardise(taps_BD).split(self.widths, dim=-1)
        each = [project(part) for project, part in zip(self.projections, parts, strict=True)]
        depths_BLW = torch.stack(each, dim=1) + self.depths
        keys, values = (self._divide(layer(depths_BLW)) for layer in (self.keys, self.values))
        query = self.query.to(keys.dtype).expand(keys.shape[0], -1, -1, -1)  # len would be one number to a tracer
        found_BW = functional.scaled_dot_product_attention(query, keys, values).flatten(1)
        return self.linear(self.dropout(found_BW))

    def _divide(self, depths_BLW: Tensor) -> Tensor:
        """Return the share of each attention head [B, heads, L, width of a head]."""
        return depths_BLW.unflatten(-1, (self.heads, -1)).transpose(1, 2)
