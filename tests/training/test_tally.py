"""What is counted of the steps of an epoch, also of one that goes on in another process."""

import torch

from frostline.ranks.collectives import ALONE
from frostline.training.tally import Tally


def test_an_epoch_that_goes_on_has_its_earlier_steps_even_before_the_next_one() -> None:
    first = Tally()
    for step in range(3):
        first.add({"loss": torch.tensor(2.0 * step), "accuracy": torch.tensor(1.0)}, samples=4)
    again = Tally()
    again.go_on_after(first.rows())
    assert torch.equal(again.rows(), first.rows())
    again.add({"loss": torch.tensor(2.0), "accuracy": torch.tensor(3.0)}, samples=4)
    assert again.rows().shape == (4, 3)
    assert again.take_means(ALONE) == {"loss": 8 / 16, "accuracy": 6 / 16}
    assert again.rows().shape[0] == 0
