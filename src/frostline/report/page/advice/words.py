"""What an advice says in sentences: the answer, who is as good, and what more samples or more time would tell."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from frostline.intervals import normal_quantile
from frostline.report.read.advice import Advice
from frostline.units import format_count, format_duration, format_interval, format_rate, format_score, join_names

HEADS = {
    "taps": "a linear head on all its depths joined",
    "layer_mix": "a head on a learned mix of its depths",
    "attentive": "a head that attends to several of its depths",
    "mlp": "a head of two layers",
}
WAYS = {
    "full": "Freeze nothing: train the whole network",
    "scratch": "Freeze nothing and use no pretrained weights: train the whole network from random ones",
    "layer_decay": "Freeze nothing, but train lower layers at lower rates",
    "gradual": "Thaw the network group by group from its end",
    "chain_thaw": "Thaw one group after the other, each alone",
    "norm_only": "Freeze all but the normalisation layers, and train these with {head}",
    "bias_only": "Freeze all but the biases, and train these with {head}",
    "linear_probe": "Freeze the whole network, and train {head}",
    "random_features": "Freeze a network of random weights, and train {head}",
}
FEW = 6
"""Names in a sentence."""


def write_verdict(advice: Advice) -> str:
    """Return the answer in a line, and below it what is as good and what more would tell."""
    answer = advice.answer
    if answer is None:
        return "\n".join(explain_no_answer(advice))
    others, settled = list_others(advice), is_settled(advice)
    said = f"{write_instruction(advice)} {write_expectation(advice)}"
    if others and not settled:
        alike = join_words([answer["name"], *others])
        samples = format_samples(advice)
        doubt = f"Cannot tell which is best: {samples} do not tell {alike} apart."
        return "\n".join([doubt, f"The best of these so far: {said}", *list_hints(advice)])
    return "\n".join([said, *list_hints(advice)])


def write_instruction(advice: Advice) -> str:
    """Return what to do to the network, with the answer's name, learning rate and epochs."""
    answer = advice.answer
    assert answer is not None
    trial = advice.find_trial(answer["name"])
    entry = {} if trial is None else trial["entry"]
    way = describe_entry(entry) or f"Train it by {answer['strategy']}"
    how = [answer["name"]]
    if answer["rate"] is not None and not answer["name"].endswith(f" at {answer['rate']:g}"):
        how.append(f"learning rate {format_rate(answer['rate'])}")
    if answer["epochs"] < answer["planned"]:
        how.append(f"{answer['epochs']} of {format_count(answer['planned'], 'epoch')}")
    return f"{way} ({', '.join(how)})."


def describe_entry(entry: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in words what an entry of compare.strategies freezes and trains; "" of a strategy without words."""
    if len(entry) != 1:
        return ""
    ((strategy, options),) = entry.items()
    chosen = str(options.get("head", "linear"))
    head = HEADS.get(chosen, "its head alone" if chosen == "linear" else f"a head of kind {chosen}")
    count = options.get("k")
    last = "its last group" if count == 1 else f"its last {count} groups" if count else ""
    if strategy == "last_k":
        return (
            f"Freeze all but {last or 'its last groups'}, and train {'these' if count != 1 else 'this'} with the head"
        )
    if strategy == "lp_ft":
        first = "the head" if chosen == "linear" else head
        rest = f"{last} with it, the rest frozen" if last else "the whole network with it"
        return f"Train {first} on the frozen network first, then {rest}"
    return WAYS.get(strategy, "").format(head=head)


def write_expectation(advice: Advice) -> str:
    """Return what to expect of the answer on other samples, and what its test said."""
    answer = advice.answer
    assert answer is not None
    expected, test, title = answer["expected"], answer["test"], advice.metric.title
    if expected is None:
        said = f"Validation {title} {format_score(answer['validation'])}; what to expect elsewhere is not known."
        return said + (f" The test said {format_score(test)}." if test is not None else " It has not been tested.")
    ends = format_interval(expected["low"], expected["high"])
    said = f"Expect a test {title} of {format_score(expected['value'])} {ends}, {answer['level']:.0%} sure"
    if test is None:
        return f"{said}; the test has no result."
    inside = "inside" if expected["low"] <= test <= expected["high"] else "outside"
    return f"{said}; the test, looked at once, said {format_score(test)}, which is {inside}."


def list_others(advice: Advice) -> list[str]:
    """Return those that the validation samples cannot tell from the answer."""
    answer = advice.answer
    return [] if answer is None else [name for name in dict.fromkeys(answer["alike"]) if name != answer["name"]]


def measure_reach(advice: Advice) -> float | None:
    """Return by how much the best of those that are alike may be better than the answer, None where that is unknown.

    That is the end of the interval of their difference on the validation samples.
    """
    answer = advice.answer
    if answer is None or not (own := advice.list_scores(answer["name"])):
        return None
    noises, ends = answer.get("noises", {}), []
    for name in list_others(advice):
        scores = advice.list_scores(name)
        if not scores or not noises.get(name):
            return None
        ahead = advice.metric.sign * (fmean(scores) - fmean(own))
        ends.append(ahead + normal_quantile(advice.level) * noises[name])
    return max(ends, default=None)


def find_least(advice: Advice) -> float:
    """Return the difference of scores that matters; of an error it is given as a share of the best one."""
    best = advice.ranked[0]["value"] if advice.ranked else 1.0
    return advice.content["least"] * (abs(best) if advice.metric.lower_is_better else 1.0)


def is_settled(advice: Advice) -> bool:
    """Return whether those that are alike differ by less than what matters."""
    reach = measure_reach(advice)
    return reach is not None and reach <= find_least(advice)


def list_hints(advice: Advice) -> Iterator[str]:
    """Yield who is as good, what to collect, and what more time would buy."""
    others, least = list_others(advice), format_score(find_least(advice))
    if others and is_settled(advice):
        yield (
            f"{join_words(others)} cannot be told from it by {format_samples(advice)}, and none of them is likely to "
            f"be better by as much as {least}: take whichever is cheapest or simplest."
        )
    elif others:
        yield say_what_to_collect(advice)
    yield say_what_time_buys(advice)


def say_what_to_collect(advice: Advice) -> str:
    """Return how many validation samples would tell a difference that matters."""
    noises = (advice.answer or {}).get("noises", {})
    worst = max((noises.get(name, 0.0) for name in list_others(advice)), default=0.0)
    count, least = advice.samples.get("val", 0), find_least(advice)
    if not (worst > 0 and count > 0 and least > 0):
        return "More validation samples would tell them apart: collect more, or take the cheapest."
    share = min(normal_quantile(advice.level) * worst / least, 1e6)
    needed = round_up(count * share**2)
    if needed <= count:
        return "Their scores differ by about as much as chance makes them: more seeds, and so more time, may tell."
    return (
        f"To tell a difference of {format_score(least)} takes about {needed:,} validation samples like these, and "
        f"there are {count:,}: collect about {round_up(needed - count):,} more, or take the cheapest."
    )


def say_what_time_buys(advice: Advice) -> str:
    """Return who might still win, and the time that it takes to know."""
    least = format_score(find_least(advice))
    if not advice.open:
        return f"Nobody else is likely to be better by more than {least}, so more time would buy little."
    found = sorted(advice.open.values(), key=lambda one: one["seconds"] / max(one["chance"], 1e-9))
    total = sum(one["seconds"] for one in found)
    first = found[0]
    named = group_names([one["name"] for one in found])
    said = f"Not run to the end, and each up to {max(one['chance'] for one in found):.0%} likely to be better by more "
    said += f"than {least}: {join_words(named)}. "
    if len(found) == 1:
        return f"{said}About {format_duration(total, 0)} more would tell."
    return (
        f"{said}About {format_duration(first['seconds'], 0)} more would tell of {first['name']}, "
        f"{format_duration(total, 0)} of all {len(found)} one after another."
    )


def explain_no_answer(advice: Advice) -> Iterator[str]:
    """Yield why there is no answer, and what would bring one."""
    asked = format_duration(advice.content["within"], 0)
    if advice.ranked:
        best = advice.ranked[0]
        score = f"validation {advice.metric.title} {format_score(best['value'])}"
        yield f"There is no answer yet: nothing was tested. Best so far is {best['name']}, {score}."
        yield "The same command goes on from here."
    else:
        yield f"There is no answer: no candidate came to a result within {asked}."
    outs = list(dict.fromkeys(f"{one['name']}: {one['out']}" for one in advice.racing if one["out"]))
    if outs:
        yield f"Out are {join_names(outs, FEW, '; ')}."
    if advice.reasons:
        yield f"Not run: {join_names(advice.reasons, FEW, '; ')}"
    if not advice.racing and not advice.reasons:
        yield (
            "Nothing was begun: what was left, after looking at the data and the network, was too short for the "
            "quickest candidate. Give more time, as below: what was read is kept."
        )
    if advice.unrun:
        first, time = advice.unrun[0], format_duration(advice.unrun[0].seconds, 0)
        yield f"The quickest that was not begun, {first.name}, was foretold to take {time}."


def format_samples(advice: Advice) -> str:
    """Return the validation samples in words."""
    count = advice.samples.get("val")
    return "the validation samples" if not count else f"the {format_count(count, 'validation sample')}"


def group_names(names: Sequence[str]) -> list[str]:
    """Return names with those put together that differ in their learning rate: last at 0.001 and 0.0003."""
    rates: dict[str, list[str]] = {}
    for name in names:
        first, _, rate = name.rpartition(" at ")
        rates.setdefault(first or name, []).append(rate if first else "")
    return [f"{name} at {join_words(found)}" if any(found) else name for name, found in rates.items()]


def join_words(names: Sequence[str]) -> str:
    """Return names as a person lists them."""
    if len(names) > FEW:
        return join_names(names, FEW)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def round_up(value: float) -> int:
    """Return a count to two digits, never less."""
    step = 10 ** max(math.floor(math.log10(max(value, 1))) - 1, 0)
    return math.ceil(value / step) * step
