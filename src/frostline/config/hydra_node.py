"""Hydra's own node: what a config may say there, whether on the command line or in a file."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import hydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from frostline.config.allow import is_below
from frostline.errors import UserError, make_choice_error

LAUNCHERS = {"pool": (), "basic": (), "joblib": ("n_jobs", "batch_size", "timeout", "verbose")}
"""Hydra's launchers that may run a sweep, and the keys of each that may be set."""
ALLOWED = ("hydra.sweeper.max_batch_size",)
WRITTEN = (
    *("hydra.runtime.choices", "hydra.runtime.config_sources", "hydra.runtime.cwd", "hydra.overrides"),
    *("hydra.job.override_dirname", "hydra.searchpath"),
)
"""What Hydra writes into its node itself, after all files; of these overrides and search path are compared by hand."""
INSTEAD = {
    "hydra.searchpath": "use --config-dir DIR",
    "hydra.run": "use outputs=FOLDER",
    "hydra.sweep": "use outputs=FOLDER",
    "hydra.output_subdir": "use outputs=FOLDER",
    "hydra.job.chdir": "use outputs=FOLDER",
    "hydra.job.env_set": "set variables in the shell",
    "hydra.job.env_copy": "set variables in the shell",
    "hydra.job_logging": "it stays disabled, and a run's log is its log.txt",
    "hydra.hydra_logging": "it stays disabled, and a run's log is its log.txt",
    "hydra.sweeper": "give swept values as overrides, such as seed=0,1,2, or search with frostline tune",
    "hydra.launcher": "use launcher=local, launcher=slurm or launcher=ray",
    "hydra.mode": "use the flag -m for a sweep",
    "hydra.verbose": "use --debug",
}


def check_hydra(composed: DictConfig, root: str, given: Sequence[str], searchpath: Sequence[str]) -> None:
    """Refuse a composed config whose node `hydra` is not Hydra's default, but for a few keys.

    So a file is held to what the command line is, whatever way it takes into that node. ``given`` are the overrides it
    was composed with. Raises UserError that names the first key that differs.
    """
    node: Any = OmegaConf.to_container(composed.hydra, resolve=False)
    launcher = node["runtime"]["choices"]["hydra/launcher"]
    if launcher not in LAUNCHERS:
        raise make_choice_error("hydra/launcher", launcher, LAUNCHERS)
    found, usual = list_leaves(node), list_shipped_leaves(root, launcher)
    for key in sorted(found.keys() | usual.keys()):
        if found.get(key) != usual.get(key) and not is_free(key, launcher):
            raise make_refusal(key, found.get(key))
    if sorted([*node["overrides"]["hydra"], *node["overrides"]["task"]]) != sorted(given):
        raise make_refusal("hydra.overrides", node["overrides"])
    if node["searchpath"] != list(searchpath):
        raise make_refusal("hydra.searchpath", node["searchpath"])


def check_address(composed: DictConfig, given: Sequence[Override]) -> None:
    """Refuse the address of a Ray cluster that a file gives: who answers there is trusted with code on this machine.

    Raises UserError that names the key.
    """
    node: Any = OmegaConf.to_container(composed, resolve=False)
    launcher = node.get("launcher")
    address = launcher.get("address") if isinstance(launcher, Mapping) else None
    if address not in (None, "auto") and "launcher.address" not in [one.key_or_group for one in given]:
        raise UserError(
            "launcher.address: a file names no cluster, for whatever answers there could run code here; give it on "
            f"the command line, as launcher.address={address}."
        )


def check_override(one: Override) -> None:
    """Refuse an override of a key of Hydra's that is not free, and a sweep of one. Raises UserError."""
    key = str(one.key_or_group)
    if not (key == "hydra" or key.startswith(("hydra.", "hydra/"))):
        return
    if "." in key and (is_written(key) or not any(is_free(key, launcher) for launcher in LAUNCHERS)):
        raise make_refusal(key, str(one.input_line).partition("=")[2])
    if one.is_sweep_override():
        raise UserError(f"{key}: it cannot be swept; it says how a sweep is run.")


def is_free(key: str, launcher: str) -> bool:
    """Return whether a key of the node `hydra` may differ from its default."""
    own = [f"hydra.launcher.{name}" for name in LAUNCHERS[launcher]]
    return is_written(key) or any(is_below(key, one) for one in (*ALLOWED, *own))


def is_written(key: str) -> bool:
    """Return whether Hydra writes a key itself."""
    return any(is_below(key, one) for one in WRITTEN)


def make_refusal(key: str, value: object) -> UserError:
    """Return the error for a key of Hydra's that a config sets."""
    how = next((words for owned, words in INSTEAD.items() if is_below(key, owned)), "leave it out")
    return UserError(f"{key}: {value!r} is not allowed here, this key is Frostline's to set; {how}.")


@cache
def list_shipped_leaves(root: str, launcher: str) -> Mapping[str, Any]:
    """Return the leaves of the node `hydra` that the shipped configs come to. Hydra must be initialised."""
    composed = hydra.compose(root, [f"hydra/launcher={launcher}"], return_hydra_config=True)
    return list_leaves(OmegaConf.to_container(composed.hydra, resolve=False))


def list_leaves(node: Any) -> dict[str, Any]:
    """Return what is in the node `hydra`, by dotted key."""
    return dict(_leaves(node, "hydra"))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}")
    else:
        yield key, value
