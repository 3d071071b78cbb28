"""From a command line's overrides to one checked, plain config."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError
from omegaconf.resolvers import oc

from frostline.config.accelerators import settle_accelerator
from frostline.config.allow import iterate_nodes
from frostline.config.expansion import check_expansion
from frostline.config.hydra_node import check_address, check_hydra, check_override
from frostline.config.hydra_source import SCHEME
from frostline.config.hydra_state import borrowing_hydra
from frostline.config.schema import (
    AdviceConfig,
    Advise,
    Budget,
    Cache,
    Compare,
    ComparisonConfig,
    Run,
    StudyConfig,
    Tune,
    check_config,
    find_conf_dir,
)
from frostline.config.secrets import check_secrets, make_reference, resolve_env
from frostline.config.signature import make_key_error, put_nearest_first
from frostline.config.writers import check_loggers
from frostline.errors import UserError, make_choice_error, read_first_line
from frostline.tasks.declarations import find_declaration

Kind = TypeVar("Kind", bound=Run)
SCALARS = [name for name, kind in get_type_hints(Run).items() if kind in (int, str, bool)]  # root keys, no groups
LONGEST = 400
MOST_CHOICES = 10_000
"""Values that a sweep may take, and combinations of a sweep that are looked at before its first run."""


def list_config_groups(config_dir: Path | None = None) -> dict[str, list[str]]:
    """Return the choices of every config group: the shipped ones and those in the user's ``config_dir``."""
    found: dict[str, set[str]] = {}
    for root in [find_conf_dir(), *([config_dir] if config_dir else [])]:
        for path in root.glob("*/*.yaml"):
            if not path.name.startswith(("_", ".")):
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(names) for group, names in sorted(found.items())}


def compose(root: str, overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """Compose ``root`` (a key of `ROOTS`) with Hydra, its own node `hydra` included, and check that node.

    Raises UserError for whatever is wrong with an override or a file.
    """
    path = search_path(config_dir)
    extra = [make_searchpath_override(path)] if path else []
    with explain_any_error(config_dir), borrowing_hydra(root), keep_references():
        check_overrides(overrides, config_dir)
        with hydra.initialize_config_dir(str(find_conf_dir()), job_name="frostline", version_base="1.3"):
            composed = hydra.compose(root, [*overrides, *extra], return_hydra_config=True)
            if composed.hydra.mode == RunMode.MULTIRUN:
                raise UserError("hydra.mode: use the flag -m for a sweep.")
            check_hydra(composed, root, [*overrides, *extra], path)
            check_address(composed, parse_overrides(overrides))
    return composed


def search_path(config_dir: Path | None) -> list[str]:
    """Return where Hydra looks for configs beside the shipped ones. Raises UserError for what is no folder."""
    if config_dir is None:
        return []
    if not config_dir.is_dir():
        raise UserError(f"--config-dir: {str(config_dir)!r} is not a folder.")
    return [f"{SCHEME}://{config_dir.resolve()}"]


def make_searchpath_override(path: Sequence[str]) -> str:
    """Return the override that lets Hydra look there."""
    return f"hydra.searchpath=[{','.join(map(quote_override, path))}]"


@contextmanager
def keep_references() -> Iterator[None]:
    """Let `${oc.env:NAME}` stand for itself while a config is composed and resolved.

    What is written of a config holds the reference; `frostline.config.secrets.resolve_env` puts the value in its place.
    """
    OmegaConf.register_new_resolver("oc.env", make_reference, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def check_overrides(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Refuse overrides of keys that are Frostline's to set, and choices that are no names. Raises UserError."""
    known = list_config_groups(config_dir)
    for one in parse_overrides(overrides):
        key = str(one.key_or_group)
        check_override(one)
        if key in known and not (one.is_delete() or one.is_sweep_override()):
            if not isinstance(value := one.value(), str | QuotedString):
                raise make_choice_error(key, value, known[key])
        if "." not in key and ".." in re.split(r"[/,\\'\"()\s]", str(one.input_line).partition("=")[2]):
            raise UserError(f"{key}: {str(one.input_line)!r} leads out of the folders of configs; name a group's file.")


def resolve(composed: DictConfig, root: type[Kind] = Run) -> Kind:
    """Return a composed config resolved, typed and checked, without the node `hydra`.

    As a ``Run``, which is what it is unless ``root`` says otherwise, it is without the node of a comparison or a study.

    References to environment variables stay what they are, but for that of `outputs`; `trainer.accelerator` becomes the
    kind of device that it stands for. Raises UserError for a mandatory value that is missing, an interpolation that
    leads nowhere, and bad values.
    """
    task = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    with explain_any_error(None):
        raw: Any = OmegaConf.to_container(task, resolve=False)
        check_expansion(raw)
    for where, node in iterate_nodes(raw):
        for key in [key for key, value in node.items() if value == "???"]:
            full = f"{where}.{key}" if where else str(key)
            raise UserError(f"{full}: a value is needed; give one as {full}=VALUE.")
    with explain_any_error(None), borrowing_hydra(), keep_references():
        if "hydra" in composed:  # else Hydra itself has composed it, and set this
            HydraConfig.instance().set_config(composed)
        config = OmegaConf.to_container(task, resolve=True)
    assert isinstance(config, dict)
    check_secrets(config)  # type: ignore[arg-type]
    config["outputs"] = resolve_env(config["outputs"], "outputs")  # where everything lies is no secret
    optimizer = config["optimizer"]
    if str(optimizer.get("_target_")).startswith("torch.optim."):
        optimizer.pop("name", None)  # of optimizer=torch: it stands in `_target_` now
    if config["monitor"] is None and (declared := find_declaration(str(config["task"].get("_target_")))) is not None:
        config["monitor"] = declared.names[0]
    check_config(config)  # type: ignore[arg-type]
    config["trainer"]["accelerator"] = settle_accelerator(config["trainer"], config["launcher"])
    check_loggers(config["logger"], Path(config["outputs"]))
    known = {one.name for one in fields(root)}
    return root.read({key: value for key, value in config.items() if key in known})  # type: ignore[misc]


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides by Hydra's grammar. Raises UserError for what does not follow it."""
    with explain_any_error(None):
        return OverridesParser.create().parse_overrides(list(overrides))


def list_single_choices(overrides: Sequence[str], config_dir: Path | None = None) -> list[list[str]]:
    """Return lists of overrides without sweeps, in which together every choice of every swept group occurs.

    In the first each sweep stands at its first choice (`seed=1,2` at `seed=1`); each other list differs in one group.
    With a ``config_dir`` they are all combinations: a file of the user's may bring in another one by a third choice.
    """
    parsed = parse_overrides(overrides)
    for one in parsed:
        check_override(one)
    swept = [_choices(text, one, config_dir) for text, one in zip(overrides, parsed, strict=True)]
    if config_dir is not None:
        if math.prod(map(len, swept)) > MOST_CHOICES:
            raise UserError(f"-m: more than {MOST_CHOICES:,} combinations of choices; sweep in several commands.")
        return [list(one) for one in itertools.product(*swept)]
    first = [found[0] for found in swept]
    others = [
        [*first[:place], choice, *first[place + 1 :]] for place, found in enumerate(swept) for choice in found[1:]
    ]
    return [first, *others]


def _choices(text: str, one: Override, config_dir: Path | None) -> list[str]:
    """Return what an override stands for: itself, every choice of a swept group, or the first of swept values."""
    if not one.is_sweep_override():
        return [text]
    found = expand_sweep(one, config_dir)
    is_value = "." in one.key_or_group or one.key_or_group in SCALARS
    return found[:1] if is_value else found


def expand_sweep(one: Override, config_dir: Path | None) -> list[str]:
    """Return the single overrides that a sweep stands for: `seed=1,2` and `k=range(1,3)` by value, `data=glob(*)` by
    the group's choices. Raises UserError for an interval and for a glob that matches nothing.
    """
    known = list_config_groups(config_dir)
    key, value = one.get_key_element(), one.value()
    if isinstance(value, Glob):
        names = value.filter(known.get(key, []))
        if not names:
            raise UserError(f"{key}: {one.input_line!r} matches none of: {', '.join(known.get(key, ['nothing']))}.")
        return [f"{key}={name}" for name in names]
    if not one.is_discrete_sweep():
        raise UserError(f"{key}: {one.input_line!r} is no list of choices, which is all that a sweep takes here.")
    found = list(itertools.islice(one.sweep_string_iterator(), MOST_CHOICES + 1))
    if len(found) > MOST_CHOICES:
        raise UserError(f"{key}: {one.input_line!r} comes to more than {MOST_CHOICES:,} values; give fewer.")
    return [f"{key}={choice}" for choice in found]


def quote_override(text: str) -> str:
    """Quote a text for Hydra's override grammar."""
    return QuotedString(text, Quote.single).with_quotes()


@contextmanager
def explain_any_error(config_dir: Path | None) -> Iterator[None]:
    """As `explained`, where only Hydra, OmegaConf and YAML are at work, which let a few errors of Python's through."""
    with explain_config_errors(config_dir):
        try:
            yield
        except (UserError, HydraException, OmegaConfBaseException, UnicodeError):
            raise
        except (ValueError, TypeError, OSError, AttributeError, KeyError, AssertionError) as error:
            raise UserError(f"The config cannot be composed ({cut_text(read_first_line(error))}).") from error


@contextmanager
def explain_config_errors(config_dir: Path | None) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML raise into a UserError of one message that names key, value and choices."""
    try:
        yield
    except UserError:
        raise
    except MissingConfigException as error:
        raise _unknown_choice(error, config_dir) from error
    except OverrideParseException as error:
        raise UserError(
            f"{cut_text(repr(error.override))} is no override ({cut_text(read_first_line(error))}); write KEY=VALUE, "
            "and quote a value that holds = , [ ] { } or quotes: KEY=\"'VALUE'\"."
        ) from error
    except RecursionError as error:
        raise UserError("The config is nested too deeply; write it with fewer levels.") from error
    except yaml.YAMLError as error:
        raise UserError(f"YAML: {' '.join(str(error).split())}.") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error) from error


def cut_text(text: str) -> str:
    """Return a text as a message can hold it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _unknown_choice(error: MissingConfigException, config_dir: Path | None) -> UserError:
    wanted = str(error.missing_cfg_file)
    group, _, name = wanted.rpartition("/")
    names = list_config_groups(config_dir).get(group) or [str(one) for one in error.options or ()]
    return UserError(f"{group}: there is no {name!r}; choose one of: {', '.join(put_nearest_first(name, names))}.")


def _explain(error: Exception) -> UserError:
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        holder = cause.parent_node
        if isinstance(cause, ValidationError):
            return UserError(f"{cause.full_key}: {cut_text(read_first_line(cause))}.")
        if isinstance(holder, Mapping) and isinstance(cause, ConfigKeyError | ConfigAttributeError):
            return make_key_error(cause.full_key, [key for key in holder if key not in ("hydra", "_target_")])
        return UserError(f"{cause.full_key}: {cut_text(read_first_line(cause))}.")
    return _explain_file(error)


def _explain_file(error: Exception) -> UserError:
    """Explain a key in a config file that its typed root does not have, and whatever else is left."""
    found = re.search(r"In '(\S+)'.*?Key '(\w+)' not in '(\w+)'.*?full_key: (\S+)", str(error), re.DOTALL)
    if found is None:
        text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        return UserError(f"{cut_text(text) or 'The config cannot be composed: ' + type(error).__name__}.")
    file, _, kind, key = found.groups()
    if kind == "Run" and key.split(".")[0] == "compare":
        return UserError(f"{file}.yaml: {key}: this key is a comparison's; the command is frostline compare.")
    known = (Run, Compare, Tune, Advise, Cache, ComparisonConfig, Budget, StudyConfig, AdviceConfig)
    kinds = {one.__name__: one for one in known}
    if kind not in kinds:  # one of Hydra's own
        return UserError(f"{file}.yaml: {key}: there is no such key.")
    return UserError(f"{file}.yaml: {make_key_error(key, kinds[kind].__dataclass_fields__)}")
