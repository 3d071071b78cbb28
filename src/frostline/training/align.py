"""The alignment of an adapter with what its network knows: no labels, only distributions (ORCA's first phase)."""

import torch
from torch import Tensor, nn

from frostline.backbones.adapters import Adapter
from frostline.data.inputs import Inputs

MOST = 512
"""Vectors of each side that a step compares: the work grows with the square."""
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Alignment:
    """How far an adapter's outputs are from the features that its network was pretrained on.

    After ORCA (Shen et al. 2023, Cross-Modal Fine-Tuning: Align then Refine, arXiv 2302.05738), which takes the optimal
    transport data set distance and, as a variant, this kernel distance: it needs no labels, and no data of the
    source where the network has a table of embeddings. Raises UserError where nothing is known of the source.
    """

    def __init__(self, adapter: nn.Module | None) -> None:
        assert isinstance(adapter, Adapter), "only a plan with an adapter has a phase that aligns it"
        self.adapter = adapter
        self.known_ND = adapter.own_features().float()

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the distance for a batch as the data set delivers it: a scalar with a gradient to the adapter."""
        made_ND = self.adapter.vectors(self.adapter(inputs))
        with torch.autocast(made_ND.device.type, enabled=False):  # differences of squares need every digit
            return discrepancy(drawn(made_ND.float()), drawn(self.known_ND).to(made_ND.device))


def drawn(rows_ND: Tensor) -> Tensor:
    """Return at most MOST rows, drawn without replacement."""
    if len(rows_ND) <= MOST:
        return rows_ND
    return rows_ND[torch.randperm(len(rows_ND))[:MOST].to(rows_ND.device)]


def discrepancy(one_ND: Tensor, other_MD: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples, without bias: 0 in the mean where they are alike.

    Gretton, Borgwardt, Rasch, Schoelkopf and Smola 2012, A Kernel Two-Sample Test, equation 3; the kernel is the mean
    of Gaussians whose widths are fractions and multiples of the mean squared distance of all rows.
    """
    rows = torch.cat([one_ND, other_MD])
    squares = rows.square().sum(dim=1)
    distances = (squares[:, None] + squares - 2 * rows @ rows.T).clamp_min(0)
    scale = distances.detach().sum() / (len(rows) * (len(rows) - 1))
    kernel = torch.stack([(-distances / (width * scale)).exp() for width in WIDTHS]).mean(dim=0)
    n, m = len(one_ND), len(other_MD)
    within_one = (kernel[:n, :n].sum() - kernel[:n, :n].diagonal().sum()) / (n * (n - 1))
    within_other = (kernel[n:, n:].sum() - kernel[n:, n:].diagonal().sum()) / (m * (m - 1))
    return within_one + within_other - 2 * kernel[:n, n:].mean()
