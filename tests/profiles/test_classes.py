"""Classes part where their recall is first as good as it gets, by a point and by what their samples can show."""

import torch

from frostline.intervals import share_interval
from frostline.profiles.classes import part_classes


def rights(shares: list[float], n: int) -> list[torch.Tensor]:
    """Return for each depth which of n samples are right: the first of them, so many as the share says."""
    return [torch.arange(n) < round(share * n) for share in shares]


def test_each_class_has_its_recalls_and_parts_at_its_own_depth() -> None:
    late, early = rights([0.1, 0.4, 0.88, 0.89], 100), rights([0.99, 0.9, 1.0, 0.2], 100)
    labels = torch.cat([torch.zeros(100), torch.ones(100)]).long()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    right = [torch.cat(pair)[order] for pair in zip(late, early, strict=True)]
    first, second, absent = part_classes(right, labels[order], ["late", "early", "absent"])
    assert (first.name, first.n, first.recalls) == ("late", 100, (0.1, 0.4, 0.88, 0.89))
    assert first.intervals == tuple(share_interval(count, 100) for count in (10, 40, 88, 89))
    assert (first.best, first.near, first.alike) == (3, 2, 2)
    assert (second.best, second.near, second.alike) == (2, 0, 0)
    assert (absent.n, absent.recalls, absent.best, absent.near, absent.alike) == (0, (), None, None, None)


def test_few_samples_cannot_show_where_a_class_parts() -> None:
    (few,) = part_classes(rights([0.6, 0.8, 1.0], 5), torch.zeros(5, dtype=torch.long), ["a"])
    assert (few.best, few.near, few.alike) == (2, 2, 0)
    (many,) = part_classes(rights([0.6, 0.8, 1.0], 500), torch.zeros(500, dtype=torch.long), ["a"])
    assert (many.best, many.near, many.alike) == (2, 2, 2)


def test_tags_count_the_samples_that_have_them() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    right = [torch.tensor([[True, False], [False, True], [False, False]]), torch.ones(3, 2, dtype=torch.bool)]
    one, other = part_classes(right, labels, ["a", "b"])
    assert (one.n, one.recalls) == (2, (0.5, 1.0)) and (other.n, other.recalls) == (2, (0.5, 1.0))
