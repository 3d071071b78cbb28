"""What a person should be told of data, in plain words; nothing where nothing is wrong."""

from collections.abc import Iterator, Mapping, Sequence

from frostline.data.examination.facts import Classes, Copies, Examination, Extremes, Named
from frostline.units import format_compact, format_count, join_names

SKEWED = 3.0
"""How many times as large the largest class is, from where on a person is told."""

TOLD = 3
"""Names in a sentence."""

NOUNS = {"image": "image", "text": "text", "speech": "recording"}
KINDS = {"train": "training", "val": "validation", "test": "test"}
PARTS = {
    "data": "The data",
    "classes": "The sizes of the classes",
    "copies": "Whether samples are copies of others",
    "sizes": "How large the samples are",
    "contents": "Whether samples are blank or damaged",
}


def list_sentences(found: Examination) -> list[str]:
    """Return what a person should be told of what was found, the gravest first."""
    noun = NOUNS.get(found["modality"], "sample")
    said = [f"{PARTS[one['part']]} could not be looked at: {one['reason'].rstrip('.')}." for one in found["failed"]]
    said += tell_unusable(found, noun)
    said += tell_copies(found, noun)
    if found["classes"] is not None:
        said += tell_classes(found["classes"], noun)
    said += tell_blank(found, noun)
    said += [tell_extremes(one, noun) for one in found["extremes"]]
    said += tell_unseen(found, noun)
    return [*said, *tell_needed(found, noun)]


def name_samples(split: str, count: int, noun: str) -> str:
    """Return what samples of a split are called, with their number: 12 validation images."""
    return format_count(count, f"{KINDS[split]} {noun}")


def be(count: int) -> str:
    """Return the verb."""
    return "is" if count == 1 else "are"


def tell_copies(found: Examination, noun: str) -> Iterator[str]:
    """Yield a sentence for each two splits that have samples in common."""
    for between, copies in found["copies"].items():
        first, second = between.split("/")
        if copies["samples"]:
            yield tell_common(copies, first, second, found["samples"][second], noun)


def tell_common(copies: Copies, first: str, second: str, total: int, noun: str) -> str:
    """Return what to say of samples of ``second`` that are in ``first`` too."""
    count, relabelled = copies["samples"], copies["relabelled"]
    with_label = f", {relabelled:,} of them with another label" if relabelled else ""
    one, other = copies["pairs"][0]
    said = f"{count:,} of {name_samples(second, total, noun)} {be(count)}"
    for_example = f"for example {other} ({second}) and {one} ({first})"
    if first == second:
        weight = "no network can learn two labels for one content" if relabelled else "they count more than once"
        return f"{said} copies of others there{with_label}; {weight}; {for_example}."
    verdict = "the score on val, by which candidates are chosen," if second == "val" else "the score on test"
    return f"{said} also in {first}{with_label}; {verdict} says less than it seems; {for_example}."


def tell_classes(classes: Classes, noun: str) -> Iterator[str]:
    """Yield what to say of classes that are small, or absent."""
    (large, most), (small, least) = classes["largest"], classes["smallest"]
    if classes["skew"] >= SKEWED:
        times = format_compact(classes["skew"], 2)
        yield (
            f"The largest class, {large}, has {name_samples('train', most, noun)}, and the smallest, {small}, has "
            f"{least:,}: {times} times as many. A score over all samples says little of the small classes."
        )
    if few := classes["few"]:
        yield (
            f"What a score says of {format_count(len(few), 'class', 'classes')} with fewer than 5 validation {noun}s "
            f"is mostly chance: {join_names(few, TOLD)}."
        )
    for split, missing in classes["missing"].items():
        if missing:
            number = format_count(len(missing), "class", "classes")
            yield f"There is no {KINDS[split]} {noun} of {number} ({join_names(missing, TOLD)})."


def tell_unusable(found: Examination, noun: str) -> Iterator[str]:
    """Yield what to say of samples that cannot be read."""
    named = {split: one["unusable"] for split, one in found["contents"].items()}
    if counted := count_in_splits(named, noun):
        way = ", or set data.on_bad=skip" if found["modality"] in NOUNS else ""
        yield f"{counted} cannot be used: {show_few(named)}. Repair or remove them{way}."


def tell_blank(found: Examination, noun: str) -> Iterator[str]:
    """Yield what to say of samples that hold nothing to go by."""
    named = {split: one["blank"] for split, one in found["contents"].items()}
    if counted := count_in_splits(named, noun):
        yield f"There is nothing to go by in {counted}: {show_few(named)}."


def show_few(named: Mapping[str, Named]) -> str:
    """Return the names of a few samples of all splits, and how many more there are."""
    names = [name for one in named.values() for name in one["names"]][:TOLD]
    more = sum(one["count"] for one in named.values()) - len(names)
    return "; ".join([*names, *([f"and {more:,} more"] if more else [])])


def count_in_splits(named: Mapping[str, Named], noun: str) -> str:
    """Return how many samples of each split there are of a kind; nothing where there are none."""
    return join_and([name_samples(split, one["count"], noun) for split, one in named.items() if one["count"]])


def join_and(parts: Sequence[str]) -> str:
    """Return parts as one says them: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def tell_extremes(odd: Extremes, noun: str) -> str:
    """Return what to say of samples that are far larger or smaller than the others."""
    low, usual, high = (format_compact(odd[end]) for end in ("low", "median", "high"))
    ends = f"{low}" if low == high else f"from {low} to {high}"
    return (
        f"{count_in_splits(odd['splits'], noun)} {be(sum(one['count'] for one in odd['splits'].values()))} unlike the "
        f"others, with {ends} {odd['unit']}, where half of train have {usual} or more: {show_few(odd['splits'])}."
    )


def tell_unseen(found: Examination, noun: str) -> Iterator[str]:
    """Yield how many samples were decoded, where that are not all."""
    parts = [
        f"{one['looked_at']:,} of {name_samples(split, found['samples'][split], noun)}"
        for split, one in found["contents"].items()
        if one["looked_at"] < found["samples"][split]
    ]
    if parts:
        yield f"There was time to decode {join_and(parts)}; blank or damaged ones may be among the others."


def tell_needed(found: Examination, noun: str) -> Iterator[str]:
    """Yield how large a difference the validation samples can show, where that is more than a point."""
    if not found["needed"]:
        return
    middle = found["needed"][len(found["needed"]) // 2]
    there = found["samples"]["val"]
    if there >= middle["samples"]:
        return
    least, most = middle["least"], f"{middle['share'] * 100:.0f} points"
    shown = f"show one of about {least * 100:.1f} points" if least else f"do not even show one of {most}"
    yield (
        f"To show a difference of one point of accuracy takes about {name_samples('val', middle['samples'], noun)}, "
        f"where only one of two candidates answers right in {middle['share']:.0%} of them; the {there:,} that are "
        f"there {shown}."
    )
