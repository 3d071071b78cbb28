"""What to type next: more time, the answer by itself, its predictions, the full comparison of the finalists.

Whatever stands in advice.json is quoted, and nothing of it becomes a flag that was not one.
"""

import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frostline.config.values import check_key, write_value
from frostline.errors import UserError
from frostline.report.page.parts import CodeBlock, Part, Section, Text
from frostline.report.read.advice import Advice
from frostline.units import format_duration

MOST = 5
"""Finalists at most."""
FEWEST = 3
"""Finalists at least, where so many have a score."""
ONCE = ("force", "advise.within")
"""Keys of the command that are not said again."""
OURS = {"run": ("freeze", "seed", "stop_after"), "compare": ("freeze", "seed", "stop_after", "compare.strategies")}
WORD, RESERVED = re.compile(r"[A-Za-z_]\w*", re.ASCII), ("null", "true", "false", "inf", "nan")
FLAGS = ("--allow", "--config-dir", "-cd")


def make_commands(advice: Advice) -> Section:
    """Return the commands, each with what it does."""
    parts: list[Part] = []
    for said, command in list_commands(advice):
        parts += [Text(said), CodeBlock(command)]
    parts.append(Text("They are meant for the folder in which the advice was asked for."))
    return Section("commands", "What next", parts)


def list_commands(advice: Advice) -> Iterator[tuple[str, str]]:
    """Yield what each command does, and the command."""
    more = choose_more_time(advice)
    yield (
        f"The same again with {format_duration(more, 0)} in all: it goes on from where it stands.",
        write_again(advice, more),
    )
    answer = advice.answer
    if answer is None:
        return
    trial = advice.find_trial(answer["name"])
    if trial is not None:
        yield "The answer as a run by itself; it is there already, and comes back at once:", write_run(advice, trial)
    folder = os.path.normpath(os.path.join(advice.folder, answer["path"]))
    folder = f"./{folder}" if folder.startswith("-") else folder
    yield "What it says of new samples, a file or a folder:", shlex.join(["frostline", "predict", folder, "PATH"])
    yield (
        "The network without Frostline; also as onnx, torch or transformers:",
        shlex.join(["frostline", "export", folder, "--format", "safetensors"]),
    )
    if command := write_comparison(advice):
        yield (
            "The full comparison of the finalists, to their end and over three seeds, with the test's intervals:",
            command,
        )


def choose_more_time(advice: Advice) -> float:
    """Return the seconds of a longer deadline: what all that is open takes, or twice what was asked for."""
    within, open = advice.content["within"], sum(one["seconds"] for one in advice.open.values())
    whole = max(within, advice.content["seconds"]) + open if open else 2 * within
    step = 60 if whole > 60 else 1
    return math.ceil(whole / step) * step


def write_again(advice: Advice, seconds: float) -> str:
    """Return the command of the advice with another deadline."""
    kept = [one for one in split_command(advice)[2:] if one.startswith("-") or find_key(one) not in ONCE]
    return shlex.join(["frostline", "advise", *kept, f"advise.within={seconds:g}s"])


def write_run(advice: Advice, trial: Mapping[str, Any]) -> str:
    """Return the command that makes the answer's run, as far as it came."""
    answer = advice.answer
    assert answer is not None
    own = [*keep_overrides(trial["overrides"]), f"seed={answer['seed']}"]
    if answer["epochs"] < answer["planned"]:
        own.append(f"stop_after={answer['epochs']}")
    base = keep_base(advice, "run", {find_key(one) for one in own})
    return shlex.join(["frostline", "run", *base, *own, *list_flags(advice)])


def write_comparison(advice: Advice) -> str | None:
    """Return the command that compares the finalists; None where an entry cannot be written."""
    try:
        entries = ",".join(spell_plainly(one["entry"]) for one in list_finalists(advice))
    except UserError:
        return None
    own = [f"compare.strategies=[{entries}]", "compare.seeds=[0,1,2]"]
    return shlex.join(["frostline", "compare", *keep_base(advice, "compare"), *own, *list_flags(advice)])


def list_finalists(advice: Advice) -> list[Mapping[str, Any]]:
    """Return the answer, who is alike, and of the others the best, as the trials that they are."""
    answer = advice.answer
    assert answer is not None
    alike = [answer["name"], *answer["alike"]]
    near = [one for one in advice.ranked if one["name"] in alike]
    others = [one for one in advice.ranked if one["name"] not in alike]
    return [*near[:MOST], *others[: max(FEWEST - len(near), 0)]]


def spell_plainly(value: Any) -> str:
    """Return a plain value in Hydra's grammar, words without quotes. Raises UserError for a key that is none."""
    if isinstance(value, str) and WORD.fullmatch(value) and value.lower() not in RESERVED:
        return value
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{check_key(key)}:{spell_plainly(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(spell_plainly, value))}]"
    return write_value(value, "compare.strategies")


def keep_base(advice: Advice, command: str, own: set[str] | None = None) -> list[str]:
    """Return the overrides that all candidates had, without those that a command has of its own."""
    left_out = {*OURS[command], *ONCE, *(own or ())}
    return [one for one in keep_overrides(advice.content["base"]) if find_key(one) not in left_out]


def keep_overrides(found: Sequence[str]) -> list[str]:
    """Return what is an override: a text that begins with a dash would be a flag."""
    return [one for one in found if "=" in one and not one.startswith("-") or one.startswith("~")]


def find_key(override: str) -> str:
    """Return the key of an override."""
    return override.partition("=")[0].lstrip("+~")


def list_flags(advice: Advice) -> list[str]:
    """Return the flags of the command that every other command needs as well."""
    words, found = split_command(advice), []
    for place, word in enumerate(words):
        if word in FLAGS and place + 1 < len(words):
            found += [word, words[place + 1]]
        elif word.partition("=")[0] in FLAGS and "=" in word:
            found.append(word)
    return found


def split_command(advice: Advice) -> list[str]:
    """Return the words of the advice's command; of one that is none, its overrides."""
    try:
        words = shlex.split(advice.content["command"])
    except ValueError:
        words = []
    if words[:2] == ["frostline", "advise"]:
        return words
    return ["frostline", "advise", *keep_overrides(advice.content["base"])]
