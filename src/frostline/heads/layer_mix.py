"""A head on a learned mix of a network's depths."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.data.inputs import Inputs, map_values
from frostline.heads.base import Head, refuse_solver
from frostline.ranges import Count


class LayerMix(Head):
    """One layer over a weighted sum of depths, whose weights are learnt: ``taps [B, D] -> logits``, or of each frame.

    ``features``, ``widths`` and ``taps`` are those of `Taps`. Each depth is brought to one variance: by what was
    measured on training samples, or with ``frames`` (``Ragged`` taps [B, T, D]) within each frame. Where not all are
    ``width`` wide (null: as wide as the deepest), each is projected to it. The weights are a softmax, equal at first.
    Peters et al. 2018 (ELMo), arXiv:1802.05365; for frames as in s3prl, Yang et al. 2021, arXiv:2105.01051.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        widths: Sequence[int],
        frames: bool,
        taps: str | Sequence[str] | None,
        width: Count | None,
        dropout: float,
        solver: str | None,
    ):
        super().__init__(solver, () if frames else widths)
        refuse_solver(self)
        self.taps, self.widths = taps, list(widths)
        width = width or self.widths[-1]
        same = all(own == width for own in widths)
        self.projections = nn.ModuleList(nn.Identity() if same else nn.Linear(own, width) for own in widths)
        self.mix = nn.Parameter(torch.zeros(len(widths)))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @property
    def weights(self) -> Tensor:
        """The weight of each depth; they sum to 1."""
        return self.mix.softmax(dim=0)

    def describe(self, depths: Sequence[str]) -> list[str]:
        """Return one sentence: which depth got which weight."""
        shares = [f"{name} {weight:.3f}" for name, weight in zip(depths, self.weights.tolist(), strict=True)]
        return [f"head=layer_mix gave each depth this weight: {', '.join(shares)}."]

    def forward(self, taps: Inputs) -> Inputs:
        return map_values(self._answer, taps)

    def _answer(self, taps: Tensor) -> Tensor:
        parts = self.standardise(taps).split(self.widths, dim=-1)
        if self.scaling is None:
            parts = [functional.layer_norm(part, part.shape[-1:]) for part in parts]
        each = [project(part) for project, part in zip(self.projections, parts, strict=True)]
        return self.linear(self.dropout(torch.stack(each, dim=-1) @ self.weights))
