"""What is counted in the steps of an epoch, kept where it is computed, so that no step waits for the accelerator."""

from collections.abc import Mapping

import torch
from torch import Tensor

from frostline.ranks.collectives import Ranks


class Tally:
    """Sums over the samples of each step, and of how many samples they are."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._own: list[Tensor] = []
        self._before: Tensor | None = None

    def begin_epoch(self) -> None:
        """Forget the steps of an epoch that was not finished here."""
        self._own = []

    def go_on_after(self, rows: Tensor | None) -> None:
        """Let the next epoch have these ``rows`` [steps, names + 1] already; None: it is a whole one."""
        self._before = rows

    def add(self, counts: Mapping[str, Tensor], samples: int) -> None:
        """Add a step: sums [] over so many samples, by name, the same names in each step of an epoch."""
        self.names = tuple(counts)
        sums = [value.float() for value in counts.values()]
        self._own.append(torch.stack([*sums, sums[0].new_full((), samples)]))  # a number that is sent would wait

    def rows(self) -> Tensor:
        """Return each step's sums and samples [steps, names + 1], of this epoch so far."""
        if not self._own:  # nor are there names yet, in a process that has gone on with an epoch
            return torch.zeros(0, len(self.names) + 1) if self._before is None else self._before
        own = torch.stack(self._own)
        return own if self._before is None else torch.cat([self._before.to(own.device), own])

    def take_means(self, ranks: Ranks) -> dict[str, float]:
        """Return the means over the samples of an epoch that has ended, on all ranks, and forget them."""
        *sums, count = ranks.add_up(self.rows().sum(dim=0))
        self._own, self._before = [], None
        return {name: float(one / count) for name, one in zip(self.names, sums, strict=True)}
