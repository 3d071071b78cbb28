"""A head that takes its time, so that a test can step in while it trains."""

import os
import time

from torch import Tensor

from frostline.heads import Linear


class Slow(Linear):
    """A linear head with dropout that sleeps in every training step as long as SLOW_S says."""

    def __init__(self, features: int, classes: int):
        super().__init__(features, classes, dropout=0.2, solver=None)

    def forward(self, features_BD: Tensor) -> Tensor:
        if self.training:
            time.sleep(float(os.environ.get("SLOW_S", "0")))
        return super().forward(features_BD)
