"""The allow-list: what a config's `_target_` may name, and how it is made."""

import importlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from frostline.errors import UserError
from frostline.signature import check_arguments, nearest_first

VARIABLE = "FROSTLINE_ALLOW"  # the modules given with --allow, for workers; commands set it, and nothing else does

OURS = (
    "frostline.data",
    "frostline.backbones",
    "frostline.heads",
    "frostline.tasks",
    "frostline.freeze.strategies",
    "frostline.training.optim",
)
# Single classes of modules that hold others, some of which start processes or call by name.
ALONE = (
    "frostline.launchers.local.Pool",
    "frostline.launchers.slurm.Slurm",
    "frostline.launchers.ray.Ray",
    "frostline.training.sharded.Sharded",
    "pytorch_lightning.Trainer",
)
# Of other packages only the classes of these very modules. Left out on purpose is whatever loads models or data by
# name or path: timm.create_model, timm.data, torchmetrics.image, .text and .multimodal.
THEIRS = (
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torchvision.transforms.v2",
    "timm.loss",
    "timm.optim",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
    "torchmetrics.aggregation",
    "torchmetrics.classification",
    "torchmetrics.regression",
)
REFUSED = ("torchvision.transforms.v2.Lambda", "pytorch_lightning.callbacks.LambdaCallback")
DOTTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
SPECIAL = ("_partial_", "_args_", "_recursive_", "_convert_")


def allow(modules: list[str]) -> None:
    """Widen the allow-list by ``modules`` for this process and its workers, and by nothing that was there before.

    Raises UserError for what is no module's name.
    """
    for module in modules:
        if not MODULE.fullmatch(module):
            raise UserError(f"--allow: {module!r} is not a module's name such as mypackage.models.")
    os.environ.pop(VARIABLE, None)
    if modules:
        os.environ[VARIABLE] = ",".join(modules)


def widened() -> tuple[str, ...]:
    """Return the modules given with --allow."""
    return tuple(name for name in os.environ.get(VARIABLE, "").split(",") if name)


def below(module: str, root: str) -> bool:
    """Say whether ``module`` is ``root`` or lies in it."""
    return module == root or module.startswith(root + ".")


def allowed_name(target: object) -> bool:
    """Say whether ``target`` has an allowed form, by its name alone: nothing is imported."""
    if not isinstance(target, str) or not DOTTED.fullmatch(target) or target in REFUSED:
        return False
    module = target.rpartition(".")[0]
    ours = any(below(module, root) and module.count(".") <= root.count(".") + 1 for root in OURS)
    return ours or module in THEIRS or target in ALONE or any(below(module, root) for root in widened())


def allowed_object(found: object, target: str) -> bool:
    """Say whether ``found``, to which ``target`` led, was written where it may be: an alias of something else was not.

    Of other packages only classes are taken; of this one and of widened modules functions as well.
    """
    home = getattr(found, "__module__", None) or ""
    if inspect.isclass(found):
        return target in ALONE or any(below(home, root) for root in OURS + THEIRS + widened())
    return inspect.isfunction(found) and any(below(home, root) for root in OURS + widened())


def nodes(value: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every mapping in ``value`` with its dotted key, lists included."""
    if isinstance(value, Mapping):
        yield where, value
        for key, inner in value.items():
            yield from nodes(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from nodes(inner, f"{where}[{index}]")


def check_targets(config: Mapping[str, Any]) -> None:
    """Refuse a config in which any `_target_` is not allowed, before anything runs and without importing any.

    The node `hydra` is held to its own rules (`frostline.config`). Raises UserError that names the key.
    """
    for where, node in nodes({key: value for key, value in config.items() if key != "hydra"}):
        for special in SPECIAL:
            if special in node:
                raise UserError(f"{where}.{special}: this key is not allowed; keys are the target's own arguments.")
        if "_target_" in node and not allowed_name(node["_target_"]):
            raise refusal(where, node["_target_"])


def refusal(where: str, target: object) -> UserError:
    """Return the error for a ``target`` that is not on the allow-list."""
    allowed = ", ".join([*OURS, *ALONE, *THEIRS, *widened()])
    return UserError(
        f"{where + '.' if where else ''}_target_: {target!r} is not on the allow-list: {allowed}. "
        "A module of your own is added with the flag --allow MODULE."
    )


def locate(target: str, where: str) -> Any:
    """Import what ``target`` names; UserError, naming the key, unless the name and what it leads to are allowed."""
    if not allowed_name(target):
        raise refusal(where, target)
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        hint = "; a module of your own is found by PYTHONPATH, not in the working directory" if widened() else ""
        raise UserError(f"{where}._target_: {target!r} cannot be imported: {error}{hint}.") from error
    found = getattr(module, name, None)
    if found is None:
        known = [key for key, value in vars(module).items() if not key.startswith("_") and allowed_object(value, "")]
        names = ", ".join(nearest_first(name, sorted(known)))
        raise UserError(f"{where}._target_: {module_name} has no {name!r}; it has: {names}.")
    if not allowed_object(found, target):
        raise refusal(where, target)
    return found


def takes(node: Mapping[str, Any], where: str, name: str) -> bool:
    """Return whether the target of ``node`` takes an argument ``name``. Raises UserError as ``locate`` does."""
    parameters = inspect.signature(locate(str(node["_target_"]), where)).parameters
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def instantiate(node: Mapping[str, Any], where: str = "", /, **runtime: Any) -> Any:
    """Make what ``node`` describes: `_target_` and keyword arguments, nested nodes first, ``runtime`` arguments added.

    ``where`` is the node's dotted key, for messages. Raises UserError, naming the key, for a target that is not
    allowed, an argument that the target does not take, and whatever another package's class refuses.
    """
    where = where or str(node.get("_target_"))
    check_targets({where: node})
    found = locate(str(node["_target_"]), where)
    arguments = {key: _made(value, f"{where}.{key}") for key, value in node.items() if key != "_target_"}
    arguments = {key: value for key, value in arguments.items() if key not in runtime}
    own = below(found.__module__, "frostline")
    check_arguments(found, arguments, runtime, where, typed=own)
    if own:
        return found(**arguments, **runtime)
    try:
        return found(**arguments, **runtime)
    except Exception as error:
        raise UserError(f"{where}: {node['_target_']} refused its arguments: {error}") from error


def _made(value: Any, where: str) -> Any:
    """Return a config value with the nodes in it made."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return instantiate(value, where)
        return {key: _made(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_made(inner, f"{where}[{index}]") for index, inner in enumerate(value)]
    return value
