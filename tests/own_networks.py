"""Networks as users write them, for tests: plain modules that know nothing of Frostline."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.again = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.again(torch.relu(self.norm(self.conv(x)))))


class Pictures(nn.Module):
    """A small residual network with dropout and its own classifier, for pictures [B, 3, S, S]."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.first = Residual(width)
        self.second = Residual(width)
        self.third = Residual(width)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.second(self.first(torch.relu(self.stem(x)))))
        return self.fc(self.dropout(x.mean(dim=(2, 3))))


class Table(nn.Module):
    """Three layers for rows of numbers [B, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Words(nn.Module):
    """A transformer of one layer over numbers of tokens [B, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(self.embedding(x)).mean(dim=1)


class Deciding(nn.Module):
    """A network that looks at its values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Linear(6, 8)
        self.high = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.low(x)
        return self.high(x) if x.sum() > -1e9 else x


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(torch.tanh(self.first(x))))


def seeded(kind: type[Network], *arguments: int) -> Network:
    """Return a network with weights that are the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*arguments)
