"""Features in parts, side by side and one after the other, are read as one tensor of them would be."""

from collections.abc import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from frostline.solving.rows import Rows, join_columns, make_rows, stack_rows

usual = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def divided_tables(draw: st.DrawFn) -> tuple[list[list[Tensor]], Tensor]:
    """Draw tables of the same samples, each in parts of its own, and one tensor of all of them."""
    samples = draw(st.integers(1, 30))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100)))
    tables = []
    for width in draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)):
        ends = sorted(draw(st.lists(st.integers(0, samples), max_size=3)))
        sizes = [high - low for low, high in zip([0, *ends], [*ends, samples], strict=True)]
        tables.append(list(torch.randn(samples, width, generator=generator).split(sizes)))
    return tables, torch.cat([torch.cat(parts) for parts in tables], dim=1)


def join(tables: Sequence[Sequence[Tensor]]) -> Rows:
    return join_columns([make_rows(parts) for parts in tables])


@usual
@given(divided_tables(), st.integers(1, 12), st.data())
def test_stretches_are_those_of_one_tensor(drawn: tuple[list[list[Tensor]], Tensor], size: int, data: st.DataObject):
    tables, whole = drawn
    rows = join(tables)
    assert (len(rows), rows.width) == whole.shape and torch.equal(rows.load(), whole)
    start, end = sorted(data.draw(st.tuples(*2 * [st.integers(0, len(whole))])))
    chunks = list(rows.chunks(size, start, end))
    assert all(len(chunk) <= size for chunk in chunks)
    assert torch.equal(torch.cat([whole[:0], *chunks]), whole[start:end])
    start, end = sorted(data.draw(st.tuples(*2 * [st.integers(0, whole.shape[1])])))
    columns = list(rows.columns(size, start, end))
    assert all(column.shape[1] <= size for column in columns)
    assert torch.equal(torch.cat([whole[:, :0], *columns], dim=1), whole[:, start:end])
    places = torch.tensor(data.draw(st.lists(st.integers(0, len(whole) - 1))), dtype=torch.long)
    assert torch.equal(rows.take(places), whole[places])


@usual
@given(divided_tables(), st.integers(1, 12), st.data())
def test_kept_columns_are_scaled_when_they_are_read(
    drawn: tuple[list[list[Tensor]], Tensor], size: int, data: st.DataObject
) -> None:
    tables, whole = drawn
    ends = sorted(data.draw(st.sets(st.integers(0, whole.shape[1]), min_size=2, max_size=4)))
    stretches = [range(low, high) for low, high in zip(ends[::2], ends[1::2], strict=False)]
    kept = torch.cat([torch.arange(whole.shape[1])[one.start : one.stop] for one in stretches])
    centre, factors = torch.randn(2, len(kept), generator=torch.Generator().manual_seed(0))
    expected = (whole[:, kept] - centre) * factors
    rows = join(tables).keep_columns(stretches).scale_columns(centre, factors)
    assert torch.equal(torch.cat(list(rows.chunks(size))), expected)
    assert torch.equal(torch.cat(list(rows.columns(size)), dim=1), expected)
    assert torch.equal(rows.take(torch.arange(len(whole)).flip(0)), expected.flip(0))


def test_views_follow_one_another_and_nothing_is_copied() -> None:
    tables = [torch.randn(5, 3), torch.randn(5, 2)]
    views = [join([[table + view] for table in tables]) for view in range(2)]
    rows = stack_rows(views)
    assert torch.equal(
        rows.load(), torch.cat([torch.cat([table + view for table in tables], dim=1) for view in (0, 1)])
    )
    held = torch.randn(4, 3)
    assert next(make_rows(held).chunks()).data_ptr() == held.data_ptr()
    assert join([[held], [held]]).blocks[0][1].data_ptr() == held.data_ptr()
