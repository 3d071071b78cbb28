"""The freeze strategies: pure functions from a backbone's groups, in depth order, to a plan."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.errors import UserError
from frostline.freeze.custom import check_positive, fill_epochs, match_names, read_change, read_written_phase
from frostline.freeze.plan import (
    ADAPTER,
    HEAD,
    RANDOM_WEIGHTS,
    Change,
    Draft,
    Phase,
    Plan,
    Train,
    arrange,
    check_epochs,
    sort_by_depth,
)


def train_whole(groups: Sequence[str], lr: float = 1.0) -> dict[str, Train]:
    """Return these groups and the head, whole, at one rate."""
    return {name: Train(lr) for name in (*groups, HEAD)}


def train_falling(groups: Sequence[str], factor: float) -> dict[str, Train]:
    """Return all groups and the head, the rate multiplied by ``factor`` with each step down from the head."""
    return {name: Train(factor**depth) for depth, name in enumerate([HEAD, *reversed(groups)])}


def train_kind(groups: Sequence[str], kind: str) -> dict[str, Train]:
    """Return all groups' parameters of one kind, and the head."""
    return {**{name: Train(kind=kind) for name in groups}, HEAD: Train()}


def check_last(groups: Sequence[str], k: object) -> None:
    """Raise UserError where there are no last ``k`` groups."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(groups):
        raise UserError(
            f"freeze.k: {k!r} is invalid: expected a whole number from 1 to {len(groups)}, the number of this "
            f"backbone's groups ({', '.join(groups)})."
        )


def scratch(groups: Sequence[str], epochs: int) -> Plan:
    """Train everything from random weights: the control that shows what pretraining is worth."""
    return arrange(groups, epochs, [Draft("all", train_whole(groups))], [Change(RANDOM_WEIGHTS)])


def random_features(groups: Sequence[str], epochs: int) -> Plan:
    """Train the head on frozen random weights: the control that shows what the architecture alone is worth."""
    return arrange(groups, epochs, [Draft("head", {HEAD: Train()})], [Change(RANDOM_WEIGHTS)])


def linear_probe(groups: Sequence[str], epochs: int) -> Plan:
    """Train the head; the whole backbone is frozen (Alain and Bengio, 2016, arXiv 1610.01644)."""
    return arrange(groups, epochs, [Draft("head", {HEAD: Train()})])


def last_k(groups: Sequence[str], epochs: int, k: int) -> Plan:
    """Train the head and the last ``k`` groups (Yosinski et al., 2014, arXiv 1411.1792).

    Raises UserError when ``k`` is below 1 or above the number of groups.
    """
    check_last(groups, k)
    return arrange(groups, epochs, [Draft(f"last{k}", train_whole(groups[-k:]))])


def surgical(groups: Sequence[str], epochs: int, train: str | Sequence[str]) -> Plan:
    """Train the head and the groups that ``train`` names, by name or glob (Lee et al., 2022, arXiv 2210.11466).

    Raises UserError when a pattern matches no group.
    """
    patterns = [train] if isinstance(train, str) else train
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(p, str) for p in patterns):
        raise UserError(
            f"freeze.train: {train!r} is invalid: expected a list of group names or globs, from: {', '.join(groups)}."
        )
    named = {name for pattern in patterns for name in match_names("freeze.train", pattern, groups)}
    return arrange(groups, epochs, [Draft("surgical", train_whole([name for name in groups if name in named]))])


def full(groups: Sequence[str], epochs: int) -> Plan:
    """Train everything from the pretrained weights at one rate."""
    return arrange(groups, epochs, [Draft("all", train_whole(groups))])


def layer_decay(groups: Sequence[str], epochs: int, decay: float) -> Plan:
    """Train everything; the rate falls by ``decay`` with each group below the head.

    The head has scale 1 and the last group ``decay``, as in ELECTRA (Clark et al., 2020, arXiv 2003.10555) and BEiT
    (Bao et al., 2021, arXiv 2106.08254). Raises UserError when ``decay`` is not above 0 and at most 1.
    """
    factor = check_positive("freeze.decay", decay, high=1)
    return arrange(groups, epochs, [Draft("all", train_falling(groups, factor))])


def lp_ft(groups: Sequence[str], epochs: int, probe: float, scale: float, k: int | None) -> Plan:
    """Train the head for the fraction ``probe`` of the epochs, then everything, or the last ``k`` groups, at ``scale``.

    A head that fits before the backbone moves keeps the pretrained features from being distorted (Kumar et al., 2022,
    arXiv 2202.10054). Raises UserError when ``probe`` is not between 0 and 1, ``scale`` not above 0, or ``k`` neither
    None nor from 1 to the number of groups.
    """
    share = check_positive("freeze.probe", probe, high=1)
    if share == 1:
        raise UserError("freeze.probe: 1 leaves no epoch for the network itself; give a fraction below 1.")
    name, trained = "all", groups
    if k is not None:
        check_last(groups, k)
        name, trained = f"last{k}", groups[-k:]
    rates = train_whole(trained, check_positive("freeze.scale", scale))
    return arrange(groups, epochs, [Draft("head", {HEAD: Train()}, share), Draft(name, rates, 1 - share)])


def gradual(groups: Sequence[str], epochs: int, factor: float, each: int) -> Plan:
    """Train the head, then with each phase one more group from the top; rates fall by ``factor`` with each group.

    ULMFiT's gradual unfreezing with discriminative rates (Howard and Ruder, 2018, arXiv 1801.06146): a phase lasts
    ``each`` epochs, the last one, with everything thawed, what is left. Raises UserError when ``factor`` is below 1 or
    ``each`` not a whole number above 0.
    """
    check_epochs(epochs)
    if check_positive("freeze.factor", factor) < 1:
        raise UserError(
            f"freeze.factor: {factor!r} is invalid: expected 1 or more, the rate's fall from one group to the next."
        )
    if isinstance(each, bool) or not isinstance(each, int) or each < 1:
        raise UserError(
            f"freeze.each: {each!r} is invalid: expected a whole number of 1 or more, the epochs of each phase."
        )
    rates = train_falling(groups, 1 / factor)
    names = [HEAD, *reversed(groups)]
    drafts = [Draft(name, {n: rates[n] for n in names[: i + 1]}, each) for i, name in enumerate(names)]
    rest = max(each, epochs - each * len(groups))
    return arrange(groups, epochs, [*drafts[:-1], drafts[-1]._replace(weight=rest)])


def chain_thaw(groups: Sequence[str], epochs: int, scale: float) -> Plan:
    """Train the head, then each group alone from the first on, the head frozen meanwhile, then everything.

    After the head the rate is lower by ``scale``, in the authors' code 1e-4 after 1e-3 (Felbo et al., 2017, arXiv
    1708.00524). Phases are of equal length; the paper ends each by early stopping. Raises UserError when ``scale`` is
    not above 0.
    """
    rate = Train(check_positive("freeze.scale", scale))
    alone = [Draft(name, {name: rate}) for name in groups]
    return arrange(groups, epochs, [Draft("head", {HEAD: Train()}), *alone, Draft("all", train_whole(groups, rate.lr))])


def norm_only(groups: Sequence[str], epochs: int) -> Plan:
    """Train the head and the parameters of normalisation layers (Frankle et al., 2020, arXiv 2003.00152)."""
    return arrange(groups, epochs, [Draft("norm", train_kind(groups, "norm"))])


def bias_only(groups: Sequence[str], epochs: int) -> Plan:
    """Train the head and the biases: BitFit (Ben Zaken et al., 2021, arXiv 2106.10199)."""
    return arrange(groups, epochs, [Draft("bias", train_kind(groups, "bias"))])


def fpt(groups: Sequence[str], epochs: int, pretrained: bool) -> Plan:
    """Train the adapter, the normalisation layers and the head: the frozen pretrained transformer.

    Lu et al., 2021, arXiv 2103.05247. ``pretrained`` false is their control: the same on random weights. Raises
    UserError where there is no adapter.
    """
    body = after_adapter("fpt", groups, "norm_only")
    train = {ADAPTER: Train(), **train_kind(body, "norm")}
    return arrange(groups, epochs, [Draft("fpt", train)], [] if pretrained else [Change(RANDOM_WEIGHTS)])


def orca(groups: Sequence[str], epochs: int, align: float, scale: float, k: int | None) -> Plan:
    """Align the adapter with what the network knows, without labels; then train everything, or the last ``k`` groups.

    Shen et al., 2023, arXiv 2302.05738. ``align`` is the first phase's fraction of the epochs, at least one, and
    ``scale`` its learning rate. Raises UserError where there is no adapter, for a fraction of 1, for a single epoch,
    for a ``scale`` that is not above 0, and for a ``k`` below 1 or above the number of the backbone's own groups.
    """
    check_epochs(epochs)
    body = after_adapter("orca", groups, "full")
    share = check_positive("freeze.align", align, high=1)
    if share == 1 or epochs < 2:
        raise UserError(f"freeze.align: {align!r} of epochs={epochs} leaves no epoch to refine; make one smaller.")
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(body)):
        raise UserError(
            f"freeze.k: {k!r} is invalid: expected null, or a whole number from 1 to {len(body)} ({', '.join(body)})."
        )
    first = min(max(1, round(share * epochs)), epochs - 1)
    refined = train_whole([ADAPTER, *(body if k is None else body[-k:])])
    aligned = Phase("align", first, {ADAPTER: Train(check_positive("freeze.scale", scale))}, "align")
    return Plan((aligned, Phase("refine", epochs - first, refined)), tuple(groups))


def after_adapter(name: str, groups: Sequence[str], other: str) -> list[str]:
    """Return a backbone's own groups; UserError, which suggests the strategy ``other``, where there is no adapter."""
    if ADAPTER not in groups:
        raise UserError(
            f"freeze={name} trains an input adapter, and there is none; choose one as adapter=NAME, or freeze={other}."
        )
    return [group for group in groups if group != ADAPTER]


def custom(
    groups: Sequence[str],
    epochs: int,
    phases: Sequence[Mapping[str, Any]],
    changes: Sequence[Mapping[str, Any]],
) -> Plan:
    """Return the plan written by hand: each phase has ``train`` and, if wanted, ``name`` and ``epochs`` or ``share``.

    ``train`` maps globs over group names and ``head`` to a rate scale, to ``{lr, kind}``, or to ``frozen``; the first
    match wins. Phases with ``epochs`` last as long as they say; the others share what is left (share 1 unless given).
    ``changes`` are made to the network first: each has a ``kind``, such as ``random_weights``, and its ``options``.
    Raises UserError, naming the key, for whatever does not fit this backbone or this number of epochs.
    """
    check_epochs(epochs)
    first = [read_change(f"freeze.changes[{i}]", change) for i, change in enumerate(changes)]
    if isinstance(phases, str) or not isinstance(phases, Sequence) or not phases:
        raise UserError(f"freeze.phases: {phases!r} is invalid: expected a list of one or more phases.")
    steps = [read_written_phase(f"freeze.phases[{i}]", i, phase, groups) for i, phase in enumerate(phases)]
    if all(step.epochs is None for step in steps):
        return arrange(groups, epochs, [Draft(step.name, step.train, step.share) for step in steps], first)
    lengths = fill_epochs(steps, epochs)
    made = [
        Phase(step.name, length, sort_by_depth(groups, step.train)) for step, length in zip(steps, lengths, strict=True)
    ]
    return Plan(tuple(made), tuple(groups), tuple(first))
