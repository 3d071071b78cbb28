"""Any encoder of the transformers library as a chain: its blocks are found, and run through its own forward."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.base import evaluating
from frostline.backbones.chains.chain import EMBEDDINGS, END, NORM, Chain, Visit, name_block
from frostline.data.inputs import Ragged

Feed = Callable[[Ragged], dict[str, Any]]
"""From a batch to the keyword arguments of a model's forward."""


class _Enough(Exception):
    """The last cut that was wanted is passed."""


class Transformer(Chain):
    """A model of transformers without its task head: ``Ragged`` in, hidden states [B, T, D] out.

    The blocks are the largest ``ModuleList`` of equal modules. A part of the network is run by the model's own
    forward, which makes masks and position biases as ever: blocks before the part hand the stored activation on
    unchanged, blocks after it are not reached. So no model needs code of its own here; a model whose later blocks need
    what an earlier one makes beside its output is told by ``cuts.check_cut``, and cut elsewhere.
    """

    def __init__(
        self,
        model: nn.Module,
        feed: Feed,
        enter: Feed,
        example: Ragged,
        *,
        bypass: Mapping[str, Callable[[Ragged], Tensor]] | None = None,
        lengths: Callable[[Tensor], Tensor] = lambda lengths: lengths,
        width: int | None = None,
        most: int | None = None,
        front: Callable[[Ragged], Ragged] | None = None,
    ) -> None:
        """Run ``example`` once to learn the order of the modules.

        ``feed`` gives the forward's arguments for a batch of the data, ``enter`` those for hidden states or an
        adapter's frames (only shape and lengths matter when a part later than the embeddings is run); ``bypass`` names
        modules that are costly and not needed then, with what stands in for their output; ``lengths`` are those of
        hidden states for lengths of inputs; ``front`` gives the frames of a batch of sounds.
        """
        super().__init__()
        self.model = model
        self.feed, self.enter, self.lengths = feed, enter, lengths
        self.bypass = dict(bypass or {})
        self.width, self.most, self._front = width, most, front
        self.path = _block_list(model)
        self._learn(example)

    @property
    def blocks(self) -> list[nn.Module]:
        """Return the blocks in depth order."""
        return list(self.model.get_submodule(self.path).children())

    @property
    def depth(self) -> int:
        return len(self.blocks)

    def owners(self) -> Iterator[tuple[str, str]]:
        yield from ((name_block(place), f"model.{self.path}.{place}") for place in range(self.depth))
        yield from ((NORM, f"model.{name}") for name in self.after)

    def _learn(self, example: Ragged) -> None:
        """See in which order modules are called, and what form a block's output has."""
        order: list[str] = []
        names = [name for name, _ in self.model.named_modules() if name and not name.startswith(f"{self.path}.")]
        last = f"{self.path}.{self.depth - 1}"
        outputs: list[Any] = []
        hooks = [
            self.model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: order.append(name))
            for name in (*names, last)
        ]
        hooks += [
            block.register_forward_hook(lambda module, given, made: outputs.append(made)) for block in self.blocks
        ]
        try:
            with evaluating(self.model), torch.no_grad():
                self.model(**self.feed(example))
        finally:
            for hook in hooks:
                hook.remove()
        self.forms = [len(made) if isinstance(made, tuple) else 0 for made in outputs[: self.depth]]
        done = order.index(last)
        self.after = [name for name in dict.fromkeys(order[done + 1 :]) if name not in order[:done]]

    def run(self, value: Ragged, start: str | None, visit: Visit) -> None:
        """Run the model's own forward from ``start``, telling ``visit`` of every cut that is passed."""
        first = self.cuts.index(start) if start in self.cuts else None
        lengths = self.lengths(value.lengths) if start is None else value.lengths

        def visit_cut(name: str, hidden: Tensor) -> None:
            if visit(name, Ragged(hidden, lengths)):
                raise _Enough

        given = self.feed(value) if start is None else self.enter(value)
        try:
            with self._gated(first, value, visit_cut):
                output = self.model(**given)
        except _Enough:
            return
        visit(END, Ragged(output.last_hidden_state, lengths))

    @contextmanager
    def _gated(self, first: int | None, value: Ragged, visit_cut: Callable[[str, Tensor], None]) -> Iterator[None]:
        """Let blocks hand on what they are given, or what is stored, until the part begins."""
        skipped = {name: self.model.get_submodule(name) for name in self.bypass} if first is not None else {}
        blocks = self.blocks
        try:
            for name, module in skipped.items():
                module.forward = lambda *_, name=name, **__: self.bypass[name](value)
            for place, block in enumerate(blocks):
                block.forward = partial(self._gate, place, block.forward, first, value, visit_cut)
            yield
        finally:
            for module in (*blocks, *skipped.values()):
                del module.forward  # what stood on the instance; the class has its own

    def _gate(
        self,
        place: int,
        forward: Callable[..., Any],
        first: int | None,
        value: Ragged,
        visit_cut: Callable[[str, Tensor], None],
        *arguments: Any,
        **named: Any,
    ) -> Any:
        """Stand in for a block's forward."""
        if first is not None and place < first:
            return (value.values, *[None] * (self.forms[place] - 1)) if self.forms[place] else value.values
        hidden, named = (arguments[0], named) if arguments else (named["hidden_states"], dict(named))
        if place == 0:
            hidden = hidden if first is None else value.values
            if first is None:
                visit_cut(EMBEDDINGS, hidden)
        output = (
            forward(hidden, *arguments[1:], **named) if arguments else forward(**(named | {"hidden_states": hidden}))
        )
        visit_cut(name_block(place), output[0] if isinstance(output, tuple) else output)
        return output

    def front(self, inputs: Ragged) -> Ragged:
        assert self._front is not None, "tokens are known by their table of embeddings"
        return self._front(inputs)

    def without_tokens(self) -> None:
        """Drop the table of word embeddings, which frames do not go through."""
        self.model.set_input_embeddings(nn.Identity())  # type: ignore[operator]


def _block_list(model: nn.Module) -> str:
    """Return the name of the largest list of equal modules."""
    lists = [
        (sum(parameter.numel() for parameter in module.parameters()), name)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(child) for child in module}) == 1
    ]
    assert lists, f"{type(model).__name__} has no list of equal blocks"
    return max(lists)[1]
