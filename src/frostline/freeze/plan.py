"""A plan is data: the ordered phases of a run, and what trains in each at which rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, isfinite
from typing import Any, NamedTuple

from frostline.errors import UserError, make_choice_error

ALL = "all"
RANDOM_WEIGHTS, INPUT_ADAPTER = "random_weights", "input_adapter"
HEAD = "head"
ADAPTER = "adapter"


@dataclass(frozen=True)
class Train:
    """How a group trains: ``lr`` scales ``optimizer.lr``; ``kind`` says which of the group's parameters train.

    Kinds are those of the backbone (`frostline.backbones.base.Backbone.kinds`): ``all``, ``norm``, ``bias``, and
    whatever a change of the plan adds.
    """

    lr: float = 1.0
    kind: str = ALL

    def __post_init__(self) -> None:
        assert isfinite(self.lr) and self.lr > 0, f"a learning-rate scale must be above 0, not {self.lr}"

    def union(self, other: "Train") -> "Train":
        """Return the larger rate and a kind that holds both (``norm`` with ``bias`` is ``all``)."""
        return Train(max(self.lr, other.lr), self.kind if self.kind == other.kind else ALL)


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one fixed set of trainable parameters; a group not in ``train`` is frozen.

    Its ``objective`` is the task's loss, or ``align``: the adapter alone learns to look like what the network knows.
    """

    name: str
    epochs: int
    train: Mapping[str, Train]
    objective: str = "task"

    def __post_init__(self) -> None:
        assert self.name, "a phase needs a name"
        assert self.epochs >= 1, f"phase {self.name}: {self.epochs} epochs"
        assert self.train, f"nothing trains in phase {self.name}"
        assert HEAD not in self.train or self.train[HEAD].kind == ALL, "a head trains whole or not at all"
        assert self.objective != "align" or set(self.train) == {ADAPTER}, "to align is the adapter's business alone"

    @property
    def head_only(self) -> bool:
        """Whether the whole backbone is frozen."""
        return set(self.train) == {HEAD}

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers for JSON."""
        train = {name: {"lr": one.lr, "kind": one.kind} for name, one in self.train.items()}
        aim = {} if self.objective == "task" else {"objective": self.objective}
        return {"name": self.name, "epochs": self.epochs, "train": train, **aim}


@dataclass(frozen=True)
class Change:
    """What is done to a network before anything trains: a module of `frostline.backbones.changes`, and its options."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers for JSON."""
        return {"kind": self.kind, "options": dict(self.options)}


@dataclass(frozen=True)
class Plan:
    """The phases of a run over a backbone's ``groups`` (in depth order), and the ``changes`` that come before them.

    ``notes`` are sentences for the user, such as that phases were merged.
    """

    phases: tuple[Phase, ...]
    groups: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.phases, "a plan needs a phase"
        assert len(set(self.groups)) == len(self.groups) and HEAD not in self.groups, f"bad groups {self.groups}"
        for phase in self.phases:
            strangers = set(phase.train) - {*self.groups, HEAD}
            assert not strangers, f"phase {phase.name} trains unknown groups {sorted(strangers)}"

    @property
    def pretrained(self) -> bool:
        """Whether the network keeps the weights that it comes with."""
        return all(change.kind != RANDOM_WEIGHTS for change in self.changes)

    @property
    def epochs(self) -> int:
        """The epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def start(self, index: int) -> int:
        """Return the first epoch of the phase ``index``."""
        assert 0 <= index < len(self.phases), f"phase {index} of {len(self.phases)}"
        return sum(phase.epochs for phase in self.phases[:index])

    def at(self, epoch: int) -> tuple[int, int]:
        """Return the phase's index and the epoch within it: a function of ``epoch`` alone, so a resumed run asks again.

        ``epoch`` counts from 0 over the whole run and lies below ``epochs``.
        """
        assert 0 <= epoch < self.epochs, f"epoch {epoch} of {self.epochs}"
        index = max(i for i in range(len(self.phases)) if self.start(i) <= epoch)
        return index, epoch - self.start(index)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers for JSON."""
        return {
            "phases": [phase.to_dict() for phase in self.phases],
            "groups": list(self.groups),
            "pretrained": self.pretrained,
            "changes": [change.to_dict() for change in self.changes],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Plan":
        """Return the plan that ``to_dict`` wrote."""
        phases = tuple(
            Phase(
                p["name"],
                p["epochs"],
                {group: Train(**train) for group, train in p["train"].items()},
                p.get("objective", "task"),  # what a plan without an adapter does not say
            )
            for p in value["phases"]
        )
        changes = tuple(Change(one["kind"], one["options"]) for one in value["changes"])
        return cls(phases, tuple(value["groups"]), changes, tuple(value["notes"]))


class Draft(NamedTuple):
    """A phase whose length is still a weight among the weights of its plan."""

    name: str
    train: Mapping[str, Train]
    weight: float = 1.0


def arrange(groups: Sequence[str], epochs: int, drafts: Sequence[Draft], changes: Sequence[Change] = ()) -> Plan:
    """Return the plan of these phases over exactly ``epochs`` epochs, neighbours merged where they are too many.

    Raises UserError when ``epochs`` is not a whole number above 0.
    """
    check_epochs(epochs)
    fitted = merge(drafts, epochs)
    lengths = share_epochs([draft.weight for draft in fitted], epochs)
    phases = tuple(
        Phase(draft.name, length, sort_by_depth(groups, draft.train))
        for draft, length in zip(fitted, lengths, strict=True)
    )
    return Plan(phases, tuple(groups), tuple(changes), merge_notes(len(drafts), epochs))


def check_epochs(epochs: int) -> None:
    """Raise UserError unless ``epochs`` is a whole number above 0."""
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise UserError(f"epochs: {epochs!r} is invalid: expected a whole number of 1 or more.")


def sort_by_depth(groups: Sequence[str], train: Mapping[str, Train]) -> dict[str, Train]:
    """Return ``train`` from the first group to the last, then the head."""
    return {name: train[name] for name in (*groups, HEAD) if name in train}


def merge_notes(phases: int, epochs: int) -> tuple[str, ...]:
    """Return the sentence about merged phases, if any were."""
    if phases <= epochs:
        return ()
    few = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return (f"The strategy's {phases} phases do not fit into {few}, so neighbouring phases were merged.",)


def merge(drafts: Sequence[Draft], limit: int) -> list[Draft]:
    """Merge neighbours until at most ``limit`` phases are left.

    The pair of the smallest joint weight goes first, of equal pairs the last, so that an early phase of the head alone
    lives longest. A merged phase trains the union, each group at its larger rate and wider kind.
    """
    left = list(drafts)
    while len(left) > limit:
        pairs = range(len(left) - 1)
        i = min(pairs, key=lambda i: (round(left[i].weight + left[i + 1].weight, 9), -i))
        left[i : i + 2] = [join(left[i], left[i + 1])]
    return left


def join(first: Draft, second: Draft) -> Draft:
    """Return the phase that does the work of two neighbours."""
    train = dict(first.train)
    for group, other in second.train.items():
        train[group] = train[group].union(other) if group in train else other
    return Draft(f"{first.name}+{second.name}", train, first.weight + second.weight)


def share_epochs(weights: Sequence[float], epochs: int) -> list[int]:
    """Return whole epochs, each at least 1 and ``epochs`` in all, by the largest remainder.

    A phase whose share is below 1 gets 1 epoch, and the others share the rest. Of equal remainders the first wins.
    """
    assert len(weights) <= epochs and all(weight > 0 for weight in weights), (weights, epochs)
    small: set[int] = set()
    while True:
        open_ = [i for i in range(len(weights)) if i not in small]
        rest, total = epochs - len(small), sum(weights[i] for i in open_)
        quotas = {i: rest * weights[i] / total for i in open_}
        below = {i for i in open_ if quotas[i] < 1 and len(open_) > 1}
        if not below:
            break
        small |= below
    lengths = [1 if i in small else floor(quotas[i]) for i in range(len(weights))]
    by_remainder = sorted(open_, key=lambda i: round(lengths[i] - quotas[i], 9))
    for i in by_remainder[: epochs - sum(lengths)]:
        lengths[i] += 1
    return lengths


def find_rate_scales(
    phase: Phase, groups: Mapping[str, Sequence[str]], kinds: Mapping[str, set[str]]
) -> dict[str, float]:
    """Return the rate scale of each backbone parameter that trains in ``phase``, by its name.

    ``groups`` maps each group to its parameters' names, ``kinds`` each kind of parameter to the names of those that
    are of it. The head is not here: where named, it trains whole.
    Raises UserError for a kind that the network does not have, and for one that matches no parameter in any of its
    groups.
    """
    rates: dict[str, float] = {}
    found: set[str] = set()
    body = {group: train for group, train in phase.train.items() if group != HEAD}
    for group, train in body.items():
        if train.kind not in kinds:
            raise make_choice_error(f"freeze: phase {phase.name!r}: {group}.kind", train.kind, sorted(kinds))
        names = [name for name in groups[group] if name in kinds[train.kind]]
        rates.update(dict.fromkeys(names, train.lr))
        found |= {train.kind} if names else set()
    for kind in sorted({train.kind for train in body.values()} - found):
        what = {ALL: "", "norm": "normalisation "}.get(kind, f"{kind.replace('_', '-')} ")
        raise UserError(
            f"freeze: phase {phase.name!r} trains the {what}parameters of {', '.join(body)}, but there are none; "
            "choose another strategy for this backbone."
        )
    return rates
