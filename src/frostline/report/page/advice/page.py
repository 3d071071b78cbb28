"""The whole page of an advice: the answer, the price list, the depths, the race, the costs, the commands."""

from collections.abc import Iterator
from pathlib import Path

from frostline.profiles.record import PAGE
from frostline.report.page.advice.commands import make_commands
from frostline.report.page.advice.prices import make_prices
from frostline.report.page.advice.race import choose_styles, make_costs, make_race
from frostline.report.page.advice.words import write_verdict
from frostline.report.page.depths import make_depth_figure, say_what_depths_are_worth
from frostline.report.page.depths import write_verdict as write_depths_verdict
from frostline.report.page.parts import Page, Part, Section, Text
from frostline.report.page.sections.limits import MOST_ROWS
from frostline.report.read.advice import Advice
from frostline.units import format_count, format_duration, format_interval, format_score


def make_advice_page(advice: Advice) -> Page:
    """Return the page of what advice.json says."""
    styles = choose_styles([one["name"] for one in advice.ranked])
    found = (
        make_prices(advice, styles),
        make_data(advice),
        make_depths(advice),
        make_race(advice, styles),
        make_costs(advice, styles),
        make_commands(advice),
    )
    return Page(
        title=advice.content["name"],
        verdict=write_verdict(advice),
        sections=[section for section in found if section is not None],
        subtitle=_write_subtitle(advice),
        facts=list(_list_facts(advice)),
        styles=styles,
    )


def _write_subtitle(advice: Advice) -> str:
    begun, others = len(advice.racing), len(advice.unrun)
    said = f"What to freeze, answered within {format_duration(advice.content['within'], 0)}"
    if begun + others:
        said += f": {format_count(begun + others, 'candidate')}, {begun} of them begun"
    return f"{said}. {advice.summary.partition(': ')[0]}"


def _list_facts(advice: Advice) -> Iterator[tuple[str, str]]:
    """Yield the few numbers that are set large."""
    answer = advice.answer
    if answer is not None:
        title = advice.metric.title
        if answer["test"] is not None:
            yield format_score(answer["test"]), f"test {title}, looked at once"
        if (expected := answer["expected"]) is not None:
            ends = format_interval(expected["low"], expected["high"])
            yield ends, f"test {title} that was expected, {advice.level:.0%} sure"
        else:
            yield format_score(answer["validation"]), f"validation {title} of the answer"
    yield format_duration(advice.content["seconds"]), f"of {format_duration(advice.content['within'], 0)} asked for"


def make_data(advice: Advice) -> Section | None:
    """Return what was found out of the data before anything ran; None where nobody has looked at them."""
    said = [one for one in (advice.summary, *advice.content["notes"]) if one]
    return Section("data", "The data", [Text(one) for one in said[:MOST_ROWS]]) if said else None


def make_depths(advice: Advice) -> Section | None:
    """Return what the depth profile says; None where none was made."""
    profile = advice.profile
    parts: list[Part] = []
    if advice.why:
        parts.append(Text(f"There is no depth profile: {advice.why}"))
    if profile is not None:
        parts += [Text(line) for line in write_depths_verdict(profile).split("\n") if line]
        if len(profile["taps"]) > 1:
            parts.append(make_depth_figure(profile, "depth"))
        worth = say_what_depths_are_worth(profile)
        parts.append(
            Text(f"{worth} Its numbers stand in {Path('profiles', profile['id'], PAGE)} in the output folder.")
        )
    return Section("depths", "What each depth knows", parts) if parts else None
