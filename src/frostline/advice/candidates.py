"""Who is in the race: each candidate's strategy with each learning rate, composed and checked before anything runs."""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from frostline.comparison.cells import Level, read_strategies
from frostline.config.compose import compose, explain_config_errors, parse_overrides, resolve
from frostline.config.schema import AdviceConfig, Advise
from frostline.config.values import write_value
from frostline.errors import UserError
from frostline.files.atomic import sha256_json
from frostline.launchers.base import Job
from frostline.results.store import choose_folder_name
from frostline.units import join_lines

TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
UNITS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}
RATE = "optimizer.lr"
PLACE = ("within", "history", "name")
"""Keys of `advise` that do not make another advice: with more time it goes on."""


@dataclass(frozen=True)
class Candidate:
    """One in the race: a strategy with what goes with it, at one learning rate. ``group`` is the advice's name."""

    name: str
    level: Level
    rate: float
    composed: DictConfig
    group: str | None = None

    @property
    def entry(self) -> dict[str, dict[str, Any]]:
        """What it is in compare.strategies: the strategy's name, with its options and the learning rate."""
        chosen = dict(text.split("=", 1) for text in self.level.overrides)
        own = {key.removeprefix("freeze."): value for key, value in self.level.options.items()}
        return {chosen.pop("freeze"): {**chosen, **own, RATE: self.rate}}

    def list_overrides(self) -> list[str]:
        """Return what makes a run that run, beside what all candidates have in common and the seed."""
        values = {**self.level.options, RATE: self.rate}
        return [*self.level.overrides, *(f"{key}={write_value(value, key)}" for key, value in values.items())]

    def make_trial(self, seed: int) -> Job:
        """Return its run in the race: judged after each epoch, its test split left alone."""
        return self._make(f"{self.name} seed {seed}", seed, test=False, judged=True)

    def make_answer(self, seed: int, stop_after: int | None) -> Job:
        """Return the run that is tested: the trial's, as far as it came."""
        return self._make(f"{self.name} tested", seed, test=True, judged=False, stop_after=stop_after)

    def _make(self, label: str, seed: int, **values: Any) -> Job:
        for key, value in {"seed": seed, RATE: self.rate, "group": self.group, "label": label, **values}.items():
            OmegaConf.update(self.composed, key, value)
        config = resolve(self.composed)
        return Job(config.label or "", config)


@dataclass(frozen=True)
class Inquiry:
    """What is asked, before anything is run: ``config`` is that of all candidates, with the node `advise`.

    ``design`` is a hash of all that decides which runs there may be.
    """

    name: str
    design: str
    within: float
    candidates: Sequence[Candidate]
    config: Advise
    base: Sequence[str]

    @property
    def node(self) -> AdviceConfig:
        """The node `advise`."""
        return self.config.advise

    @property
    def seed(self) -> int:
        """The seed of the race; others may follow it."""
        return self.config.seed

    def list_base(self) -> list[str]:
        """Return the overrides that do not speak of the advice itself: any other command takes them."""
        pairs = zip(self.base, parse_overrides(self.base), strict=True)
        return [text for text, one in pairs if str(one.key_or_group).partition(".")[0] != "advise"]


def read_duration(value: object) -> float:
    """Return a time as seconds: a number of them, or 90s, 5m, 2h. Raises UserError for what is none."""
    found = TIME.fullmatch(str(value).strip())
    seconds = 0.0 if found is None else float(found[1]) * UNITS[found[2]]
    if isinstance(value, bool) or not 0 < seconds < 1e7:
        raise UserError(f"advise.within: {value!r} is no time: expected seconds, or 90s, 5m, 2h.")
    return seconds


def make_inquiry(overrides: Sequence[str], config_dir: Path | None) -> Inquiry:
    """Compose and check every candidate. Raises UserError for what is wrong with any of them."""
    for one in parse_overrides(overrides):
        if one.is_sweep_override():
            raise UserError(f"{one.key_or_group}: advice is about one set and network; leave the sweep out.")
    config = resolve(compose("advise", overrides, config_dir), Advise)
    node, within = config.advise, read_duration(config.advise.within)
    check_asked(config)
    candidates = [
        candidate
        for name, entry in node.candidates.items()
        if entry is not None
        for candidate in make_candidates(name, entry, node.rates, overrides, config_dir)
    ]
    if not candidates:
        raise UserError("advise.candidates: there is none left; leave one in, such as joined: {linear_probe: {}}.")
    design = hash_design(config, candidates)
    chosen = candidates[0].composed.hydra.runtime.choices
    name = choose_folder_name("advise.name", node.name, f"{chosen['data']}-{chosen['backbone']}-{design[:8]}")
    return Inquiry(name, design, within, [replace(one, group=name) for one in candidates], config, overrides)


def hash_design(config: Advise, candidates: Sequence[Candidate]) -> str:
    """Return a hash of all that decides which runs there may be.

    Raises UserError when two candidates come to the same run.
    """
    jobs = [one.make_trial(config.seed) for one in candidates]
    seen: dict[str, Candidate] = {}
    for one, job in zip(candidates, jobs, strict=True):
        other = seen.setdefault(job.id, one)
        if other is not one:
            raise UserError(f"advise.candidates: {other.name} and {one.name} are the same run; leave one of them out.")
    node = {key: value for key, value in config.plain()["advise"].items() if key not in PLACE}
    return sha256_json([node, [job.id for job in jobs]])


def check_asked(config: Advise) -> None:
    """Refuse what advice sets itself, and lists that are empty or name a thing twice. Raises UserError."""
    rates = config.advise.rates
    if not rates or len(set(rates)) != len(rates):
        raise UserError(f"advise.rates: {rates} is empty, or holds a rate twice; give each once, such as [0.001].")
    if not config.test:
        raise UserError("test: the answer is tested, once; leave it out, or try settings by frostline run.")
    if config.launcher.get("detach"):
        raise UserError("--detach: advice decides as runs end, so it stays; start it where it can.")


def make_candidates(
    name: str, entry: Any, rates: Sequence[float], overrides: Sequence[str], config_dir: Path | None
) -> list[Candidate]:
    """Return one candidate for each rate, or the one at the rate that it sets. Raises UserError for a wrong entry."""
    if isinstance(entry, Mapping):  # Hydra adds what is given to what was there: the last one stands in its place
        entry = dict([*entry.items()][-1:])
    try:
        (level,) = read_strategies([entry])
    except UserError as error:
        raise UserError(f"advise.candidates.{name}: {str(error).partition(': ')[2]}") from error
    composed = compose("advise", [*overrides, *level.overrides], config_dir)
    for key, value in level.options.items():
        with explain_config_errors(None):
            OmegaConf.update(composed, key, value, merge=False)
    own = level.options.get(RATE)
    given = rates if own is None else [own]
    return [Candidate(f"{name} at {rate:g}", level, rate, deepcopy(composed)) for rate in given]


def divide_candidates(
    candidates: Sequence[Candidate], facts: Sequence[Mapping[str, Any]], say: Callable[[str], None]
) -> list[tuple[int, Candidate]]:
    """Return the candidates that can be run, each with its place among all; others are left out by name.

    Of those in which the learning rate plays no part the first is left in alone. Raises UserError where none can be
    run: what is wrong is then the user's data, network or task, and no candidate's.
    """
    found, reasons, solved = [], {}, set[str]()
    for place, (candidate, fact) in enumerate(zip(candidates, facts, strict=True)):
        why, name = fact.get("error") or fact.get("broken"), candidate.name.partition(" at ")[0]
        if why:
            reasons[name] = why
        elif fact["stepped"] or name not in solved:
            found.append((place, candidate if fact["stepped"] else replace(candidate, name=name)))
            solved |= set() if fact["stepped"] else {name}
    if not found:
        raise UserError(
            f"advise.candidates: none of them can be run; {join_lines(list(dict.fromkeys(reasons.values())))}"
        )
    for name, why in reasons.items():
        say(f"left out: {name}: {why}")
    return found
