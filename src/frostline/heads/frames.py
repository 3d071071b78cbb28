"""A head on the features of each frame, and whether what is asked fits to them."""

from torch import nn

from frostline.data.inputs import Inputs, Ragged
from frostline.errors import UserError
from frostline.heads.base import Head, refuse_solver
from frostline.tasks.base import Task


class FrameLinear(Head):
    """A linear layer over each frame of ``Ragged`` features, so ``Ragged`` logits [B, T, classes]: for CTC."""

    name = "ctc"

    def __init__(self, features: int, classes: int, dropout: float, solver: str | None = None):
        super().__init__(solver)
        refuse_solver(self)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Inputs) -> Ragged:
        if not isinstance(features, Ragged):
            raise UserError("head=ctc needs a vector for each frame; set backbone.pooling=none.")
        return Ragged(self.linear(self.dropout(features.values)), features.lengths)


def check_frames(task: Task, pooling: str | None) -> None:
    """Refuse a task that answers for each frame where frames are pooled, and the reverse. Raises UserError."""
    if task.is_sequence and pooling != "none":
        raise UserError(
            f"backbone.pooling: task={task.name} answers for each frame; choose a backbone of sequences, head=ctc (or "
            f"head=layer_mix) and backbone.pooling=none."
        )
    if pooling == "none" and not task.is_sequence:
        raise UserError(
            f"backbone.pooling: task={task.name} has one answer a sample; use mean, first, last or max, not none."
        )
