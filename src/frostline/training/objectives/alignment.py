"""The alignment of an adapter with what its network knows: no labels, only distributions (ORCA's first phase)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from frostline.backbones.adapters.base import Adapter
from frostline.data.inputs import Inputs, Ragged
from frostline.tasks.base import Task
from frostline.training.objectives.base import Counts, Objective, Step

if TYPE_CHECKING:
    from frostline.training.module import FineTuner

MOST = 512
"""Vectors of each side that a step compares: the work grows with the square."""
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Alignment(Objective):
    """How far an adapter's outputs are from the features that its network was pretrained on.

    After ORCA (Shen et al. 2023, Cross-Modal Fine-Tuning: Align then Refine, arXiv 2302.05738), which takes the optimal
    transport data set distance and, as a variant, this kernel distance: it needs no labels, and no data of the
    source where the network has a table of embeddings.
    """

    scored = False
    name_in_plans = "align"

    def begin(self, module: "FineTuner") -> None:
        """Take what is known of the source. Raises UserError where nothing is."""
        adapter = module.backbone.adapter
        assert isinstance(adapter, Adapter), "only a plan with an adapter has a phase that aligns it"
        self.known_ND = adapter.own_features().float()

    def list_counts(self, task: Task) -> tuple[str, ...]:
        return ("distance",)

    def __call__(self, step: Step) -> tuple[Tensor, Counts]:
        """Return the distance for a batch as the data set delivers it, with a gradient to the adapter."""
        adapter = step.module.backbone.adapter
        assert isinstance(adapter, Adapter)
        self.known_ND = self.known_ND.to(step.module.backbone.device)
        distance = distance_to(self.known_ND, adapter, step.inputs)
        return distance, {"distance": distance.detach().float() * len(step)}


def distance_to(known_ND: Tensor, adapter: Adapter, inputs: Inputs) -> Tensor:
    """Return the distance [] of what an adapter makes of ``inputs`` from vectors that are known."""
    outputs = adapter(inputs)
    own_ND = adapter.vectors(outputs)
    everything_M = torch.ones(len(known_ND), dtype=torch.bool, device=own_ND.device)
    real_N = outputs.mask.flatten() if isinstance(outputs, Ragged) else everything_M.new_ones(len(own_ND))
    with torch.autocast(own_ND.device.type, enabled=False):  # differences of squares need every digit
        return discrepancy(*draw_rows(own_ND, real_N), draw_rows(known_ND, everything_M)[0])


def draw_rows(rows_ND: Tensor, real_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return at most MOST rows, drawn without replacement, padding after all that is real; and which are real."""
    if len(rows_ND) <= MOST:
        return rows_ND, real_N
    places = torch.rand(len(rows_ND), device=rows_ND.device).masked_fill(~real_N, 2.0).argsort()[:MOST]
    return rows_ND[places], real_N[places]


def discrepancy(one_ND: Tensor, real_N: Tensor, other_MD: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples, without bias: 0 in the mean where they are alike.

    Of the first only the rows that are real count. Gretton, Borgwardt, Rasch, Schoelkopf and Smola 2012, A Kernel
    Two-Sample Test, equation 3; the kernel is the mean of Gaussians whose widths are fractions and multiples of the
    mean squared distance of all rows.
    """
    rows, count, m = torch.cat([one_ND, other_MD]), real_N.sum(), len(other_MD)
    counts = torch.cat([real_N, real_N.new_ones(m)])
    pairs = (counts[:, None] & counts).fill_diagonal_(False)
    squares = rows.square().sum(dim=1)
    distances = (squares[:, None] + squares - 2 * rows @ rows.T).clamp_min(0)
    scale = (distances.detach() * pairs).sum() / pairs.sum()
    kernel = torch.stack([(-distances / (width * scale)).exp() for width in WIDTHS]).mean(dim=0) * pairs
    n = len(one_ND)
    within_one = kernel[:n, :n].sum() / (count * (count - 1))
    within_other = kernel[n:, n:].sum() / (m * (m - 1))
    return within_one + within_other - 2 * kernel[:n, n:].sum() / (count * m)
