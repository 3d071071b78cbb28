"""A search before anything is run: its space, the config of each trial and of the final run, all checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from frostline.config.compose import compose, parse_overrides, resolve
from frostline.config.schema import Run, StudyConfig, Tune, find_monitor
from frostline.errors import UserError, make_choice_error
from frostline.files.atomic import sha256_json
from frostline.results.store import choose_folder_name, make_identity
from frostline.tuning.space import Point, Space, make_space

SAMPLERS = ("tpe", "random", "grid", "gp")
PRUNERS = ("none", "median", "asha", "hyperband")
PLACE = ("name", "storage", "trials", "timeout_s", "space")
"""Keys of `tune` that do not make another study: with more trials it goes on."""

NO_RUNS = ("tune", "force", "debug", "seed")
"""Keys of a study's command that the command for its best run leaves out."""


@dataclass(frozen=True)
class Search:
    """What is searched: ``base`` are the overrides that all trials share, ``config`` is that of the first corner of the
    space, ``corners`` are those of trials at every corner.
    """

    name: str
    base: Sequence[str]
    space: Space
    config: Tune
    config_dir: Path | None
    corners: Sequence[Run] = ()

    @property
    def node(self) -> StudyConfig:
        """The node `tune`."""
        return self.config.tune

    @property
    def judged(self) -> bool:
        """Whether trials may be stopped before their end."""
        return self.node.pruner != "none"

    @property
    def seed(self) -> int:
        """The seed of trials. Raises UserError for that of the final run: it would be chosen on its own noise."""
        seed = self.node.seed
        if seed == self.config.seed:
            raise UserError(f"tune.seed: {seed} is the final run's `seed`; choose another, or null.")
        return self.config.seed + 1 if seed is None else seed

    @property
    def direction(self) -> str:
        """How trials are compared, in Optuna's word."""
        return "minimize" if find_monitor(self.config).lower_is_better else "maximize"

    @cached_property
    def grid(self) -> list[Point] | None:
        """Every point of a grid, in order; None for other samplers."""
        return self.space.grid() if self.node.sampler == "grid" else None

    @property
    def trials(self) -> int:
        """How many trials there are to be."""
        return self.node.trials if self.grid is None else min(self.node.trials, len(self.grid))

    def make_trial(self, point: Point, number: int) -> Run:
        """Return a trial's config. Raises UserError for a point that is no run's."""
        overrides = self.space.overrides(point)
        label = " ".join([f"trial {number}", *overrides])
        return self._config(overrides, label, seed=self.seed, test=False, judged=self.judged)

    def make_final(self, point: Point) -> Run:
        """Return the config of the run that tests the best point, once."""
        return self._config(self.space.overrides(point), "final run", seed=self.config.seed, test=True, judged=False)

    def runs_base(self) -> list[str]:
        """Return the overrides that all trials share, as `frostline run` takes them."""
        known = zip(self.base, parse_overrides(self.base), strict=True)
        return [text for text, one in known if one.key_or_group.partition(".")[0] not in NO_RUNS]

    def _config(self, overrides: Sequence[str], label: str, **values: Any) -> Run:
        composed = compose("tune", [*self.base, *overrides], self.config_dir)
        for key, value in {**values, "group": self.name, "label": label}.items():
            OmegaConf.update(composed, key, value)
        return resolve(composed)

    def digest(self) -> str:
        """Return a hash of all that makes this study another one than others."""
        plain = self.config.plain()
        node = {key: value for key, value in plain.pop("tune").items() if key not in PLACE}
        return sha256_json([node, self.space.to_list(), make_identity(Run.read(plain))])


def make_search(overrides: Sequence[str], config_dir: Path | None) -> Search:
    """Compose and check a search, at every corner of its space. Raises UserError for what is wrong with any."""
    pairs = list(zip(overrides, parse_overrides(overrides), strict=True))
    base = [text for text, one in pairs if not one.is_sweep_override()]
    given = {str(one.key_or_group) for _, one in pairs if not one.is_sweep_override()}
    node = resolve(compose("tune", base, config_dir), Tune).tune
    space = make_space(node.space, [one for _, one in pairs if one.is_sweep_override()], config_dir)
    for one in space.parameters:
        if one.key in given:
            raise UserError(f"{one.key}: it is searched, and given as well; leave one of the two out.")
    corners = space.corners()
    composed = compose("tune", [*base, *space.overrides(corners[0])], config_dir)
    found = Search("", base, space, resolve(composed, Tune), config_dir)
    check_search(found)
    found = replace(found, name=name_folder(found, composed))
    return replace(found, corners=[found.make_trial(point, 0) for point in corners])


def check_search(found: Search) -> None:
    """Raise UserError for a value of `tune` that is invalid, and for what a study cannot follow."""
    for key, allowed in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if getattr(found.node, key) not in allowed:
            raise make_choice_error(f"tune.{key}", getattr(found.node, key), allowed)
    if found.judged and found.node.min_epochs >= found.config.epochs:
        raise UserError(
            f"tune.min_epochs: {found.node.min_epochs} leaves no epoch of {found.config.epochs} in which a trial "
            "could be stopped; take fewer, or tune.pruner=none."
        )
    if not found.config.test:
        raise UserError("test: a study tests its final run once; leave it out, or try settings by frostline run.")
    if found.config.launcher.get("detach"):
        raise UserError("--detach: a study asks for trials as others end, so it stays; start it where it can.")
    assert found.seed >= 0 and found.trials >= 1  # wrong seeds and grids raise here


def name_folder(found: Search, composed: DictConfig) -> str:
    """Return tune.name, or a name from the data, the backbone and a hash of the study.

    So the same command again goes on in the same folder. Raises UserError for a name that is no folder's.
    """
    chosen = composed.hydra.runtime.choices
    otherwise = f"{chosen['data']}-{chosen['backbone']}-{found.digest()[:8]}"
    return choose_folder_name("tune.name", found.node.name, otherwise)
