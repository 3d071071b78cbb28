"""How samples are divided: drawing missing splits and small subsets by class and seed, and refusing overlaps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from frostline.data.listing import Found, Listing
from frostline.data.options import Options
from frostline.data.order import draw_permutation
from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.tasks.base import Task
from frostline.units import join_lines


@dataclass(frozen=True)
class Divided:
    """All three splits with their labels as the task encodes them, the classes, and notes for the user.

    ``counts`` are the samples of each class by split; ``draws`` is ``Loading.draws``, where ``data.balanced`` asks for
    it.
    """

    listings: dict[str, Listing]
    labels: dict[str, Tensor]
    classes: list[str]
    counts: dict[str, dict[str, int]]
    draws: Tensor | None
    notes: list[str]


def divide(found: Found, fractions: Mapping[str, float], options: Options, files: bool) -> Divided:
    """Return a data set divided: missing splits drawn, labels checked and encoded, train cut down to a subset.

    With ``files`` contents are paths, each of which may stand in one split only. Raises UserError for that, and for
    invalid labels and numbers.
    """
    task = options.task
    listings, drawn = draw_missing(found, fractions, options.split_seed, task)
    classes = task.classes(listings["train"].labels, found.classes)
    lacking = check_labels(listings, classes, task, found.where)
    if files:
        check_overlap(listings, found.where)
    listings["train"] = draw_subset(listings["train"], options.num_per_class, options.fraction, options.seed, task)
    labels = {name: task.encode(listing.labels, classes) for name, listing in listings.items()}
    draws = task.draws(labels["train"]) if options.balanced else None
    counts = count_classes(listings, classes, task)
    return Divided(listings, labels, classes, counts, draws, [*drawn, *lacking])


def count_classes(listings: Mapping[str, Listing], classes: Sequence[str], task: Task) -> dict[str, dict[str, int]]:
    """Return how many samples of each class each split has; none where a task has no classes."""
    found = {}
    for split in SPLITS:
        seen = Counter(member for label in listings[split].labels for member in task.members(label))
        found[split] = {label: seen[label] for label in classes if task.members(label)}
    return found


def group_by_stratum(labels: Sequence[str], task: Task) -> dict[str, list[int]]:
    """Return the indices of each class's samples, in order; of all under one name where there are no such classes."""
    members: dict[str, list[int]] = {}
    for index, stratum in enumerate(task.strata(labels) or [""] * len(labels)):
        members.setdefault(stratum, []).append(index)
    return members


def shuffle_members(members: Sequence[int], seed: int, purpose: str, label: str) -> list[int]:
    """Return a class's samples in an order of its own, so that adding a class does not shuffle the others anew."""
    return [members[place] for place in draw_permutation(len(members), seed, purpose, label).tolist()]


def draw_missing(
    found: Found, fractions: Mapping[str, float], seed: int, task: Task
) -> tuple[dict[str, Listing], list[str]]:
    """Return all three splits, the missing ones drawn from train by class, and notes that say so.

    ``fractions`` of train's samples, rounded and at least one a class. Raises UserError where a fraction is out of
    range or a class is left without a training sample.
    """
    missing = [name for name in ("val", "test") if name not in found.splits]
    for name in missing:
        if not 0 < fractions[name] < 1:
            raise UserError(
                f"data.{name}_fraction: {fractions[name]} is not between 0 and 1, and there is no {name} split."
            )
    if not missing:
        return dict(found.splits), []
    drawn: dict[str, list[int]] = {name: [] for name in ("train", *missing)}
    strata = group_by_stratum(found.splits["train"].labels, task)
    for label, members in strata.items():
        order = shuffle_members(members, seed, "splits", label)
        for name in missing:
            count = max(1, round(fractions[name] * len(members)))
            drawn[name] += order[:count]
            order = order[count:]
        if not order:
            said = " and ".join(f"data.{name}_fraction={fractions[name]}" for name in missing)
            whose = f"{label}'s {len(members)}" if label else f"all {len(members)}"
            raise UserError(f"{said} leave no training sample of {whose}; lower them or add some.")
        drawn["train"] += order
    splits = dict(found.splits) | {name: found.splits["train"].take(sorted(drawn[name])) for name in drawn}
    how = "at random" if "" in strata else "by class"
    return splits, [f"drew {' and '.join(missing)} from train, {how}, with data.split_seed={seed}"]


def draw_subset(train: Listing, num_per_class: int | None, fraction: float | None, seed: int, task: Task) -> Listing:
    """Return a small training set, drawn by class and seed; a larger one contains every smaller one of the same seed.

    Raises UserError where both are given, one is out of range, or a class has fewer samples than asked for.
    """
    if num_per_class is None and fraction is None:
        return train
    if num_per_class is not None and fraction is not None:
        raise UserError("data.num_per_class and data.fraction are both set; set one of them to null.")
    if num_per_class is not None and num_per_class < 1:
        raise UserError(f"data.num_per_class: {num_per_class} is not a number of samples; it is at least 1.")
    if fraction is not None and not 0 < fraction <= 1:
        raise UserError(f"data.fraction: {fraction} is not a share of the training samples; it is above 0, at most 1.")
    if num_per_class is not None and task.strata(train.labels) is None:
        raise UserError(f"data.num_per_class: with task={task.name} samples are of no single class; use data.fraction.")
    chosen: list[int] = []
    for label, members in group_by_stratum(train.labels, task).items():
        count = num_per_class if num_per_class is not None else max(1, round((fraction or 0) * len(members)))
        if count > len(members):
            raise UserError(
                f"data.num_per_class: {count} is more than the {len(members)} training samples of class {label!r}."
            )
        chosen += shuffle_members(members, seed, "subset", label)[:count]
    return train.take(sorted(chosen))


def check_labels(splits: Mapping[str, Listing], classes: Sequence[str], task: Task, where: str) -> list[str]:
    """Refuse splits that cannot be trained or tested on; return notes of classes that val or test lack."""
    if len(classes) < task.fewest:
        has = f"only the class {', '.join(classes)!r}" if classes else "no class in train"
        raise UserError(f"{where} has {has}; telling apart takes two classes or more.")
    notes = []
    for name in SPLITS:
        present = {member for label in splits[name].labels for member in task.members(label)}
        unknown, absent = sorted(present - set(classes)), [label for label in classes if label not in present]
        if not len(splits[name]):
            raise UserError(f"{where} has no samples in {name}.")
        if not task.fewest:
            continue
        if unknown:
            raise UserError(f"{where} has {join_lines(unknown)} in {name}, of which train has no samples.")
        if absent and name == "train":
            raise UserError(f"{where} has no usable training samples of {join_lines(absent)}.")
        if absent:
            notes.append(f"{name} has no samples of {join_lines(absent)}")
    return notes


def check_overlap(splits: Mapping[str, Listing], where: str) -> None:
    """Refuse one file (one real path) in two splits or under two labels."""
    seen: dict[str, tuple[str, str, str]] = {}
    again: list[str] = []
    for split in SPLITS:
        listing = splits[split]
        if not isinstance(listing.content, Sequence):
            continue
        for name, label, path in zip(listing.names, listing.labels, listing.content, strict=True):
            first = seen.setdefault(path, (split, label, name))
            if first[:2] != (split, label):
                again.append(f"{first[2]} ({first[0]}, {first[1]}) is {name} ({split}, {label})")
    if again:
        raise UserError(
            f"{where} has {len(again)} files in two splits or under two labels: {join_lines(again, 3)}. "
            f"Each file may stand in one."
        )


def count_duplicates(digests: Mapping[str, Sequence[str]]) -> list[str]:
    """Return notes that count samples of equal contents, within the data set and between train and the others."""
    counts = Counter(digest for split in SPLITS for digest in digests[split])
    repeats = sum(counts.values()) - len(counts)
    notes = [f"{repeats} samples have the same contents as another one"] if repeats else []
    train = set(digests["train"])
    for split in ("val", "test"):
        leaked = sum(digest in train for digest in digests[split])
        if leaked:
            notes.append(f"{leaked} samples of {split} have the same contents as one of train")
    return notes
