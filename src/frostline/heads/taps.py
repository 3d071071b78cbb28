"""A head on several depths of a network, side by side."""

from collections.abc import Sequence

from torch import Tensor, nn

from frostline.heads.base import Head, refuse_frames


class Taps(Head):
    """One layer over several depths of a network, each brought to one variance: ``taps [B, D] -> logits``.

    ``features`` is the width of all of them, ``widths`` that of each, ``taps`` which they are, as a config says it;
    ``frames`` says whether there is a vector for each frame, which this head refuses with a UserError.
    After Head2Toe (Evci et al. 2022, arXiv:2201.03529).
    """

    def __init__(
        self,
        features: int,
        classes: int,
        widths: Sequence[int],
        frames: bool,
        taps: str | Sequence[str] | None,
        solver: str | None,
        dropout: float,
    ):
        super().__init__(solver, widths)
        refuse_frames(self, frames)
        self.taps = taps
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, taps_BD: Tensor) -> Tensor:
        return self.linear(self.dropout(self.standardise(taps_BD)))
