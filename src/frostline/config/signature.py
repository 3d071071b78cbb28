"""The signature is the schema: a config node's keys and values against what its target takes."""

import inspect
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from frostline.errors import UserError
from frostline.ranges import Range

PLAIN = (bool, int, float, str, type(None), list, dict)
WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
    **dict.fromkeys((list, tuple, Sequence, Iterable), "a list"),
    **dict.fromkeys((dict, Mapping), "keys and values"),
}
"""How the types of plain values are called in messages."""


def put_nearest_first(value: object, names: Iterable[object]) -> list[str]:
    """Return ``names`` with the one most like ``value`` in front, where one is like it."""
    texts = [str(name) for name in names]
    close = get_close_matches(str(value), texts, n=1)
    return close + [text for text in texts if text not in close]


def make_key_error(key: str, allowed: Iterable[object]) -> UserError:
    """Return the error for the dotted ``key``, of whose node ``allowed`` are the keys."""
    node, _, name = key.rpartition(".")
    names = ", ".join(put_nearest_first(name, allowed)) or "none"
    return UserError(f"{key}: there is no such key; the keys of {node or 'the root'} are: {names}.")


def check_arguments(found: Any, arguments: Mapping[str, Any], given: Collection[str], where: str, typed: bool) -> None:
    """Check the keys that a config gives (``arguments``) against the signature of ``found``.

    ``given`` are the names of arguments that come at run time, ``typed`` asks for a look at the values too.
    Raises UserError that names the key ``where.key``.
    """
    parameters = inspect.signature(found).parameters
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    settable = [name for name in names if name not in given]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in arguments:
        if key not in settable and not open_ended:
            raise make_key_error(f"{where}.{key}", settable)
    for name in settable:
        if parameters[name].default is inspect.Parameter.empty and name not in arguments:
            raise UserError(f"{where}.{name}: a value is needed; give one as {where}.{name}=VALUE.")
    if typed:
        check_types(found, arguments, where)


def check_types(found: Any, arguments: Mapping[str, Any], where: str) -> None:
    """Check plain values against the type hints of ``found``, ranges included.

    Raises UserError that names the key, the value and what is expected.
    """
    hints = typing.get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    for key, value in arguments.items():
        if key in hints:
            check_value(value, hints[key], f"{where}.{key}")


def check_value(value: Any, hint: Any, where: str) -> None:
    """Check the value at the dotted key ``where`` against a type hint. Raises UserError as ``check_types`` does."""
    if typing.get_origin(hint) is list and isinstance(value, list):
        for index, one in enumerate(value):
            check_value(one, typing.get_args(hint)[0], f"{where}[{index}]")
    if not accepts(value, hint):
        raise UserError(f"{where}: {value!r} is invalid: expected {describe(hint)}.")


def accepts(value: Any, hint: Any) -> bool:
    """Return whether a config's ``value`` fits a type hint and is in its range.

    A hint for what is no plain value accepts everything.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        ranges = [one for one in arguments[1:] if isinstance(one, Range)]
        return accepts(value, arguments[0]) and all(one.holds(value) for one in ranges)
    if origin in (Union, types.UnionType):
        return any(accepts(value, one) for one in arguments)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    kind = origin or hint
    if kind in (bool, int, str):
        return type(value) is kind
    if kind is float:
        return type(value) in (int, float)
    if kind is Path:
        return isinstance(value, str | Path)
    if not isinstance(kind, type) or kind in (object, Any):
        return True
    return _accepts_class(value, kind, arguments)


def _accepts_class(value: Any, kind: type, arguments: tuple[Any, ...]) -> bool:
    """Return what ``accepts`` does for collections, and for classes, of which a config holds only what it made."""
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(accepts(one, arguments[-1]) for one in value.values() if arguments)
    if issubclass(kind, tuple) and arguments and arguments[-1] is not ...:
        fits = isinstance(value, list | tuple) and len(value) == len(arguments)
        return fits and all(accepts(one, hint) for one, hint in zip(value, arguments, strict=True))
    if issubclass(kind, Sequence | Iterable) or kind in (list, set, frozenset):
        return isinstance(value, list | tuple) and all(accepts(one, arguments[0]) for one in value if arguments)
    return not isinstance(value, PLAIN) or (not getattr(kind, "_is_protocol", False) and isinstance(value, kind))


def describe(hint: Any) -> str:
    """Return a type hint as a reader of YAML would say it: a whole number from 1 to 10, or null."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(repr(one) for one in arguments)
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *map(str, arguments[1:])])
    if origin in (Union, types.UnionType):
        ranged = any(typing.get_origin(one) is Annotated for one in arguments)
        return (", or " if ranged else " or ").join(describe(one) for one in arguments)
    return WORDS.get(origin or hint) or str(getattr(hint, "__name__", hint))
