"""The allow-list: what a config's `_target_` may name, and how it is made."""

import importlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from frostline.config.signature import check_arguments, put_nearest_first
from frostline.errors import UserError, read_first_line

VARIABLE = "FROSTLINE_ALLOW"  # the modules that --allow, or a call from Python, allows; workers inherit it

# What each key of a config takes. Of Frostline's own that is what the shipped configs of the group name, and nothing
# else that happens to lie beside it; of other packages only the classes of these very modules, or these classes alone.
# Left out on purpose is whatever loads models or data by name or path, or writes where its arguments say: timm.data,
# torchmetrics.image, Lightning's profilers, most of its callbacks and strategies.
TAKES: dict[str, tuple[str, ...]] = {
    "task": (),
    "data": (),
    "augment": ("torchvision.transforms.v2",),
    "backbone": (),
    "adapter": (),
    "head": (),
    "freeze": (),
    "objective": (),
    "optimizer": ("torch.optim", "timm.optim"),
    "schedule": (),
    "trainer": (),
    "logger": ("pytorch_lightning.loggers.CSVLogger", "pytorch_lightning.loggers.CometLogger"),
    "launcher": (),
}
SEVERAL = ("logger", "objective")
"""The keys that take one component, or several, each under a name of its own."""
BARS = tuple(f"pytorch_lightning.callbacks.{name}" for name in ("RichProgressBar", "TQDMProgressBar"))
# The arguments that take a node of their own, or a list of them, by the target (or its module) and the key.
NESTED: dict[tuple[str, str], tuple[str, ...]] = {
    ("pytorch_lightning.Trainer", "strategy"): (
        "pytorch_lightning.strategies.DDPStrategy",
        "frostline.training.sharded.Sharded",
    ),
    ("pytorch_lightning.Trainer", "callbacks"): (*BARS, "pytorch_lightning.callbacks.EarlyStopping"),
    ("torchvision.transforms.v2", "transforms"): ("torchvision.transforms.v2",),
}
# What a target of the user's own may be given: nothing in these reads or writes a file.
PASSIVE = (
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torchvision.transforms.v2",
    "timm.loss",
    "timm.optim",
    "torchmetrics.aggregation",
    "torchmetrics.classification",
    "torchmetrics.regression",
)
MODULES = frozenset(
    root
    for roots in (*TAKES.values(), *NESTED.values(), PASSIVE)
    for root in roots
    if root.rpartition(".")[2].islower()
)
"""Which of these names are modules, of which any class is taken; the modules themselves are nothing to make."""
REFUSED = ("torchvision.transforms.v2.Lambda",)
DOTTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
TARGET = re.compile(r"^ *_target_: *(\S+)", re.MULTILINE)
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


def list_allowed_modules() -> tuple[str, ...]:
    """Return the modules given with --allow."""
    return tuple(name for name in os.environ.get(VARIABLE, "").split(",") if name)


def is_below(module: str, root: str) -> bool:
    """Return whether ``module`` is ``root`` or lies in it."""
    return module == root or module.startswith(root + ".")


def find_conf_dir() -> Path:
    """Return the folder of the shipped configs: inside an installed wheel, else the repository's `conf/`."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


@cache
def list_shipped_targets(group: str) -> tuple[str, ...]:
    """Return the targets that the shipped configs of a group name as their own."""
    texts = [path.read_text() for path in sorted((find_conf_dir() / group).glob("*.yaml"))]
    found = {target for text in texts for target in TARGET.findall(text)}
    inner = {target for targets in NESTED.values() for target in targets}
    return tuple(sorted(target for target in found - inner if DOTTED.fullmatch(target)))


def list_targets(group: str) -> tuple[str, ...]:
    """Return what the key of a group takes: targets, and modules of which it takes any class."""
    return (*list_shipped_targets(group), *TAKES[group])


def list_all_targets() -> tuple[str, ...]:
    """Return all that any key takes."""
    roots = [
        *PASSIVE,
        *(root for group in TAKES for root in list_targets(group)),
        *(one for ones in NESTED.values() for one in ones),
    ]
    return tuple(dict.fromkeys(roots))


def list_nested_targets(target: str, key: str) -> tuple[str, ...]:
    """Return what an argument of a target takes, which is nothing unless it is declared to take a node."""
    if is_own(target):
        return PASSIVE
    return NESTED.get((target, key)) or NESTED.get((target.rpartition(".")[0], key)) or ()


def is_own(target: str) -> bool:
    """Return whether a target lies in a module given with --allow."""
    return any(is_below(target.rpartition(".")[0], root) for root in list_allowed_modules())


def is_allowed_name(target: object, takes: Sequence[str] | None = None) -> bool:
    """Return whether ``target`` has an allowed form, by its name alone: nothing is imported.

    ``takes`` are the targets and modules that its key takes; None: all that any key does.
    """
    if not isinstance(target, str) or not DOTTED.fullmatch(target) or target in REFUSED:
        return False
    roots = list_all_targets() if takes is None else takes
    named = target in roots and target not in MODULES
    return named or target.rpartition(".")[0] in roots or is_own(target)


def is_allowed_object(found: object, target: str) -> bool:
    """Return whether ``found``, to which ``target`` led, was written in an allowed module, and is no alias.

    Of other packages only classes are taken; of this one and of widened modules functions as well.
    """
    home = getattr(found, "__module__", None) or ""
    if inspect.isclass(found):
        return target in list_all_targets() or any(
            is_below(home, root) for root in (*list_all_targets(), *list_allowed_modules())
        )
    return inspect.isfunction(found) and any(is_below(home, root) for root in ("frostline", *list_allowed_modules()))


def iterate_nodes(value: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every mapping in ``value`` with its dotted key, lists included."""
    if isinstance(value, Mapping):
        yield where, value
        for key, inner in value.items():
            yield from iterate_nodes(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from iterate_nodes(inner, f"{where}[{index}]")


def check_targets(config: Mapping[str, Any]) -> None:
    """Refuse a config in which any `_target_` is not what its key takes, before anything runs, and importing nothing.

    The node `hydra` is held to its own rules (`frostline.config.hydra_node`). Raises UserError that names the key.
    """
    for key, value in config.items():
        if key != "hydra":
            check_node(value, str(key), list_targets(key) if key in TAKES else ())


def check_node(value: Any, where: str, takes: Sequence[str] | None, listed: bool = False) -> None:
    """Refuse what is no component that the key ``where`` takes, and anything of the kind in it. Raises UserError."""
    if isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            check_node(inner, f"{where}[{index}]", () if listed else takes, listed=True)
    if not isinstance(value, Mapping):
        return
    for special in SPECIAL:
        if special in value:
            raise UserError(f"{where}.{special}: this key is not allowed; keys are the target's own arguments.")
    target = value.get("_target_")
    if "_target_" in value and not is_allowed_name(target, takes):
        raise make_refusal(where, target, takes)
    for key, inner in value.items():
        among = list_nested_targets(str(target), str(key)) if "_target_" in value else takes if where in SEVERAL else ()
        check_node(inner, f"{where}.{key}", among)


def list_components(node: Mapping[str, Any], key: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the components at a ``key`` of ``SEVERAL``, by name, with the dotted key of each; one alone by its class.

    Raises UserError for what is none.
    """
    if "_target_" in node:
        return {str(node["_target_"]).rpartition(".")[2]: (key, node)}
    for name, inner in node.items():
        if not isinstance(inner, Mapping) or "_target_" not in inner:
            raise UserError(f"{key}.{name}: {inner!r} is invalid: expected a node with a _target_ of its own.")
    return {name: (f"{key}.{name}", inner) for name, inner in node.items()}


def make_refusal(where: str, target: object, takes: Sequence[str] | None = None) -> UserError:
    """Return the error for a ``target`` that is not on the allow-list, or not what its key takes."""
    key = f"{where + '.' if where else ''}_target_"
    if takes is not None and not takes:
        return UserError(f"{key}: {target!r} has no place here, this key takes no component; leave it out.")
    allowed = ", ".join(
        put_nearest_first(target, [*(list_all_targets() if takes is None else takes), *list_allowed_modules()])
    )
    return UserError(
        f"{key}: {target!r} is not on the allow-list of this key: {allowed}. "
        "A module of your own is added with the flag --allow MODULE."
    )


def locate(target: str, where: str) -> Any:
    """Import what ``target`` names; UserError, naming the key, unless the name and what it leads to are allowed."""
    if not is_allowed_name(target):
        raise make_refusal(where, target)
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        hint = (
            "; a module of your own is found by PYTHONPATH, not in the working directory"
            if list_allowed_modules()
            else ""
        )
        raise UserError(f"{where}._target_: {target!r} cannot be imported: {error}{hint}.") from error
    found = getattr(module, name, None)
    if found is None:
        known = [key for key, value in vars(module).items() if not key.startswith("_") and is_allowed_object(value, "")]
        names = ", ".join(put_nearest_first(name, sorted(known)))
        raise UserError(f"{where}._target_: {module_name} has no {name!r}; it has: {names}.")
    if not is_allowed_object(found, target):
        raise make_refusal(where, target)
    return found


def instantiate(node: Mapping[str, Any], where: str = "", /, **runtime: Any) -> Any:
    """Make what ``node`` describes: `_target_` and keyword arguments, nested nodes first, ``runtime`` arguments added.

    ``where`` is the node's dotted key, for messages. Raises UserError, naming the key, for a target that is not
    allowed, an argument that the target does not take, and whatever another package's class refuses.
    """
    group = re.split(r"[.\[]", where)[0]
    where = where or str(node.get("_target_"))
    check_node(node, where, list_targets(group) if group in TAKES else None)
    return _make(node, where, runtime)


def _make(node: Mapping[str, Any], where: str, runtime: Mapping[str, Any]) -> Any:
    """Make a node that was checked, and the nodes in it; what comes at run time is not made from the config as well."""
    found = locate(str(node["_target_"]), where)
    given = {key: value for key, value in node.items() if key != "_target_" and key not in runtime}
    arguments = {key: _make_value(value, f"{where}.{key}") for key, value in given.items()}
    ours = is_below(found.__module__, "frostline")
    check_arguments(found, arguments, runtime, where, typed=ours)
    if ours:
        return found(**arguments, **runtime)
    try:
        return found(**arguments, **runtime)
    except Exception as error:
        raise UserError(f"{where}: {node['_target_']} refused its arguments: {read_first_line(error)}.") from error


def _make_value(value: Any, where: str) -> Any:
    """Return a config value with the nodes in it made."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _make(value, where, {})
        return {key: _make_value(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_make_value(inner, f"{where}[{index}]") for index, inner in enumerate(value)]
    return value
