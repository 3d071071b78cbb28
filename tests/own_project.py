"""A project of a user's own, as code in a file: functions that return a plain module and plain data."""

CODE = """
from pathlib import Path
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(6, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)

    def forward(self, x):
        return torch.relu(self.third(torch.relu(self.second(torch.relu(self.first(x))))))

class Rows(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        numbers = [float(cell) for cell in self.rows[index].split(",")]
        return torch.tensor(numbers[:-1]), int(numbers[-1])

def net(width=16):
    torch.manual_seed(1)
    return Net(width)

def data(file):
    return Rows(Path(file).read_text().split())

class Module(pl.LightningDataModule):
    def __init__(self, file):
        super().__init__()
        self.file = file

    def train_dataloader(self):
        return DataLoader(data(self.file), batch_size=4)
"""


def table(count: int = 60, shift: float = 0.0) -> str:
    """Return rows of six numbers and a class from 0 to 2, one a line."""
    lines = []
    for index in range(count):
        label = index % 3
        numbers = [shift + label + ((7 * index + 3 * place) % 11) / 11 for place in range(6)]
        lines.append(",".join([*map(str, numbers), str(label)]))
    return "\n".join(lines)
