"""From a command line's overrides to one checked, plain config."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from frostline.allow import SPECIAL, below, nodes
from frostline.errors import UserError, choices
from frostline.schema import (
    ROOTS,
    Budget,
    Cache,
    Compare,
    Run,
    Searched,
    Tune,
    Varied,
    check_config,
    conf_dir,
    task_metrics,
)
from frostline.signature import nearest_first, unknown_key

# Hydra's own nodes may name only these. Of launchers not those of submitit and Ray, whose nodes hold lines for a shell:
# launcher=slurm and launcher=ray are in their place.
HYDRA_TARGETS = {
    "launcher": r"hydra\._internal\.core_plugins\.basic_launcher\.BasicLauncher"
    r"|hydra_plugins\.(frostline_pool\.Pool|hydra_joblib_launcher\.joblib_launcher\.Joblib)Launcher",
    "sweeper": r"hydra\._internal\.core_plugins\.basic_sweeper\.BasicSweeper|hydra_plugins(\.\w+)+\.\w+Sweeper",
    "callbacks": r"hydra\.experimental\.callbacks\.LogJobReturnCallback",
}
SCALARS = [one.name for one in fields(Run) if one.type in (int, str, bool)]  # the root keys that are no groups
# Keys of Hydra's that are Frostline's to set, and what to say instead.
OWNED = {
    "hydra.searchpath": "--config-dir DIR",
    "hydra.run.dir": "outputs=FOLDER",
    "hydra.sweep.dir": "outputs=FOLDER",
    "hydra.output_subdir": "outputs=FOLDER",
    "hydra.job.chdir": "outputs=FOLDER",
    "hydra.job.env_set": "variables of the shell",
    "hydra.sweeper.params": "overrides such as seed=0,1,2",
}


def groups(config_dir: Path | None = None) -> dict[str, list[str]]:
    """Return the choices of every config group: the shipped ones and those in the user's ``config_dir``."""
    found: dict[str, set[str]] = {}
    for root in [conf_dir(), *([config_dir] if config_dir else [])]:
        for path in root.glob("*/*.yaml"):
            if not path.name.startswith(("_", ".")):
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(names) for group, names in sorted(found.items())}


def compose(root: str, overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """Compose ``root`` ("run", "compare" or "tune") with Hydra, its own node `hydra` included, and check that node.

    Raises UserError for whatever is wrong with an override or a file.
    """
    ConfigStore.instance().store(name="schema", node=ROOTS[root])
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"--config-dir: {str(config_dir)!r} is not a folder.")
    extra = [f"hydra.searchpath=[{quoted(config_dir.resolve().as_uri())}]"] if config_dir else []
    with explained(config_dir):
        check_overrides(overrides, config_dir)
        with hydra.initialize_config_dir(str(conf_dir()), job_name="frostline", version_base="1.3"):
            composed = hydra.compose(root, [*overrides, *extra], return_hydra_config=True)
        HydraConfig.instance().set_config(composed)
        if composed.hydra.mode == RunMode.MULTIRUN:
            raise UserError("hydra.mode: use the flag -m for a sweep.")
        check_hydra(composed.hydra)
    return composed


def check_overrides(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Refuse overrides of keys that are Frostline's to set, and choices that are no names. Raises UserError."""
    known = groups(config_dir)
    for one in parse_overrides(overrides):
        key = str(one.key_or_group)
        for owned, instead in OWNED.items():
            if below(key, owned):
                raise UserError(f"{key}: this key is Frostline's to set; use {instead}.")
        value = one.value()
        if key in known and not (one.is_delete() or one.is_sweep_override() or isinstance(value, str | QuotedString)):
            raise choices(key, value, known[key])


def plain(composed: DictConfig) -> dict[str, Any]:
    """Return a composed config resolved, as plain dictionaries, without the node `hydra`, and checked.

    Raises UserError for a mandatory value that is missing, an interpolation that leads nowhere, and bad values.
    """
    task = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    for where, node in nodes(OmegaConf.to_container(task, resolve=False)):
        for key in [key for key, value in node.items() if value == "???"]:
            full = f"{where}.{key}" if where else str(key)
            raise UserError(f"{full}: a value is needed; give one as {full}=VALUE.")
    with explained(None):
        config = OmegaConf.to_container(task, resolve=True)
    assert isinstance(config, dict)
    optimizer = config["optimizer"]
    if str(optimizer.get("_target_")).startswith("torch.optim."):
        optimizer.pop("name", None)  # of optimizer=torch: it stands in `_target_` now
    if config["monitor"] is None and (metrics := task_metrics(config)) is not None:  # type: ignore[arg-type]
        config["monitor"] = metrics[0]
    check_config(config)  # type: ignore[arg-type]
    return config  # type: ignore[return-value]


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides by Hydra's grammar. Raises UserError for what does not follow it."""
    with explained(None):
        return OverridesParser.create().parse_overrides(list(overrides))


def single_choices(overrides: Sequence[str], config_dir: Path | None = None) -> list[list[str]]:
    """Return lists of overrides without sweeps, in which together every choice of every swept group occurs.

    In the first each sweep stands at its first choice (`seed=1,2` at `seed=1`); each other list differs in one group.
    """
    parsed = parse_overrides(overrides)
    swept = [_choices(text, one, config_dir) for text, one in zip(overrides, parsed, strict=True)]
    first = [found[0] for found in swept]
    others = [
        [*first[:place], choice, *first[place + 1 :]] for place, found in enumerate(swept) for choice in found[1:]
    ]
    return [first, *others]


def _choices(text: str, one: Override, config_dir: Path | None) -> list[str]:
    """Return what an override stands for: itself, every choice of a swept group, or the first of swept values."""
    if not one.is_sweep_override():
        return [text]
    found = expanded(one, config_dir)
    is_value = "." in one.key_or_group or one.key_or_group in SCALARS
    return found[:1] if is_value else found


def expanded(one: Override, config_dir: Path | None) -> list[str]:
    """Return the single overrides that a sweep stands for: `seed=1,2` and `k=range(1,3)` by value, `data=glob(*)` by
    the group's choices. Raises UserError for an interval and for a glob that matches nothing.
    """
    known = groups(config_dir)
    key, value = one.get_key_element(), one.value()
    if isinstance(value, Glob):
        names = value.filter(known.get(key, []))
        if not names:
            raise UserError(f"{key}: {one.input_line!r} matches none of: {', '.join(known.get(key, ['nothing']))}.")
        return [f"{key}={name}" for name in names]
    if not one.is_discrete_sweep():
        raise UserError(f"{key}: {one.input_line!r} is no list of choices, which is all that a sweep takes here.")
    return [f"{key}={choice}" for choice in one.sweep_string_iterator()]


def check_hydra(node: Any) -> None:
    """Refuse a config whose node `hydra` names code, sets variables, or takes over what Frostline sets.

    Raises UserError that names the key.
    """
    for key, pattern in HYDRA_TARGETS.items():
        part = OmegaConf.to_container(node[key], resolve=True)
        tops = part.items() if key == "callbacks" and isinstance(part, dict) else [("", part)]
        for name, top in tops:
            check_plugin(top, f"hydra.{key}{'.' + str(name) if name else ''}", pattern)
    for key in ("job_logging", "hydra_logging"):
        extra = set(node[key]) - {"version", "root", "disable_existing_loggers"}
        if extra or set(node[key].get("root") or ()) - {"level"}:
            raise UserError(f"hydra.{key}: it stays disabled; a run's log is its log.txt.")
    if node.job.env_set:
        raise UserError("hydra.job.env_set: a config sets no environment variables; set them in the shell.")
    if node.job.chdir:
        raise UserError("hydra.job.chdir: runs stay in the folder they were started in; leave it out.")
    if OmegaConf.select(node, "sweeper.params"):
        raise UserError("hydra.sweeper.params: give swept values as overrides, such as seed=0,1,2.")


def check_plugin(top: Any, where: str, pattern: str) -> None:
    """Refuse a plugin's node with a target that does not match ``pattern``, or with targets further down."""
    for inner, found in nodes(top, where):
        target = found.get("_target_", None)
        fine = target is None or (inner == where and re.fullmatch(pattern, str(target)))
        if not fine:
            instead = "; use launcher=slurm or launcher=ray" if where == "hydra.launcher" else ""
            raise UserError(f"{inner}._target_: {target!r} is not allowed here{instead}.")
        if any(special in found for special in SPECIAL):
            raise UserError(f"{inner}: the keys {', '.join(SPECIAL)} are not allowed.")


def quoted(text: str) -> str:
    """Quote a text for Hydra's override grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def explained(config_dir: Path | None) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML raise into a UserError of one message that names key, value and choices."""
    try:
        yield
    except UserError:
        raise
    except MissingConfigException as error:
        raise _unknown_choice(error, config_dir) from error
    except OverrideParseException as error:
        raise UserError(
            f"{error.override!r} is no override ({_first_line(error)}); write KEY=VALUE, "
            "and quote a value that holds = , [ ] { } or quotes: KEY=\"'VALUE'\"."
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"YAML: {' '.join(str(error).split())}.") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "See http" not in line]
    return (lines or [type(error).__name__])[0].rstrip(".")


def _unknown_choice(error: MissingConfigException, config_dir: Path | None) -> UserError:
    wanted = str(error.missing_cfg_file)
    group, _, name = wanted.rpartition("/")
    names = groups(config_dir).get(group) or [str(one) for one in error.options or ()]
    return UserError(f"{group}: there is no {name!r}; choose one of: {', '.join(nearest_first(name, names))}.")


def _explain(error: Exception) -> UserError:
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        holder = cause.parent_node
        if isinstance(cause, ValidationError):
            return UserError(f"{cause.full_key}: {_first_line(cause)}.")
        if isinstance(holder, Mapping) and cause.key not in holder and "nterpolation" not in type(cause).__name__:
            return unknown_key(cause.full_key, [key for key in holder if key not in ("hydra", "_target_")])
        return UserError(f"{cause.full_key}: {_first_line(cause)}.")
    return _explain_file(error)


def _explain_file(error: Exception) -> UserError:
    """Explain a key in a config file that its typed root does not have, and whatever else is left."""
    found = re.search(r"In '(\S+)'.*?Key '(\w+)' not in '(\w+)'.*?full_key: (\S+)", str(error), re.DOTALL)
    if found is None:
        text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        return UserError(f"{text}.")
    file, _, kind, key = found.groups()
    if kind == "Run" and key.split(".")[0] == "compare":
        return UserError(f"{file}.yaml: {key}: this key is a comparison's; the command is frostline compare.")
    kinds = {one.__name__: one for one in (Run, Compare, Tune, Cache, Varied, Budget, Searched)}
    if kind not in kinds:  # one of Hydra's own
        return UserError(f"{file}.yaml: {key}: there is no such key.")
    return UserError(f"{file}.yaml: {unknown_key(key, kinds[kind].__dataclass_fields__)}")
