"""Heads on the features of a sample."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.heads.base import Head, refuse_solver


class Linear(Head):
    """One layer, which with classes is multinomial logistic regression; starts at zero: the first loss is log(classes).

    ``classes`` is as many outputs as the task asks for.
    """

    def __init__(self, features: int, classes: int, solver: str | None, dropout: float):
        super().__init__(solver)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.linear(self.dropout(features_BD))


class MLP(Head):
    """One hidden layer of ``hidden`` units with GELU and dropout."""

    def __init__(self, features: int, classes: int, hidden: int, dropout: float, solver: str | None):
        super().__init__(solver)
        refuse_solver(self)
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.layers(features_BD)


class Cosine(Head):
    """Scaled cosine similarity to a learned direction for each class.

    Gidaris and Komodakis 2018, Dynamic Few-Shot Visual Learning without Forgetting, arXiv:1804.09458.
    """

    def __init__(self, features: int, classes: int, scale: float, solver: str | None):
        super().__init__(solver)
        refuse_solver(self)
        self.weight = nn.Parameter(torch.randn(classes, features) / features**0.5)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.scale * functional.linear(
            functional.normalize(features_BD, dim=-1), functional.normalize(self.weight, dim=-1)
        )
