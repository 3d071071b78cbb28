"""A run that is asked to stop inside an epoch keeps the steps it has done, and goes on after them to the bit."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from frostline.processes.stopping import STOP
from frostline.ranks.collectives import Ranks


def find_reason(trainer: pl.Trainer, ranks: Ranks, batch_idx: int) -> str | None:
    """Return why any rank was asked to stop before this step, the same on all; None where none was, or not just now.

    While gradients are accumulated there is no state that could be kept. The accelerator goes on meanwhile: nothing is
    asked of it.
    """
    if batch_idx % trainer.accumulate_grad_batches or ranks.holds_everywhere(STOP.why is None, ranks.step_patience):
        return None
    return next(filter(None, ranks.gather_values(STOP.why)))


def collect_random_states(ranks: Ranks) -> list[dict[str, Tensor]]:
    """Return the state of each rank's random number generators: the CPU's, and its GPU's where it computes on one."""
    devices = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # a run on processors leaves the GPUs beside them alone
        devices["cuda"] = torch.cuda.get_rng_state()
    each = {name: ranks.gather_tensors(state).split(len(state)) for name, state in devices.items()}
    return [{name: states[rank] for name, states in each.items()} for rank in range(ranks.world)]


def set_random_state(state: dict[str, Tensor]) -> None:
    """Restore one rank's state."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
