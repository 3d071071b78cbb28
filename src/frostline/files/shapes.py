"""Whether a value of JSON has the shape that its readers count on: asked once, where it comes in."""

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

Shape = Any
"""A type (``int`` and ``float`` without True and False, ``float`` any finite number, ``object`` anything), None, a
tuple of shapes of which one fits, ``[shape]`` for a list of it, ``{str: shape}`` for an object with such values, or an
object of its fields' shapes: each of them must be there unless its name ends with ``?``, and others are free."""
LARGEST = 1.7e308
WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}


def check_shape(value: Any, shape: Shape, where: str) -> None:
    """Raise ValueError that names the field below ``where``, for one that has not its shape."""
    if isinstance(shape, list):
        _check_type(value, list, where)
        for place, one in enumerate(value):
            check_shape(one, shape[0], f"{where}[{place}]")
    elif isinstance(shape, Mapping):
        _check_type(value, dict, where)
        for name, inner in shape.items():
            if name is str:
                for key, one in value.items():
                    check_shape(one, inner, f"{where}.{key}")
            elif (key := name.removesuffix("?")) in value:
                check_shape(value[key], inner, f"{where}.{key}" if where else key)
            elif key == name:
                raise ValueError(f"{where}.{key} is missing" if where else f"{key} is missing")
    elif isinstance(shape, tuple):
        _check_one_of(value, shape, where)
    else:
        _check_type(value, shape, where)


def _check_one_of(value: Any, shapes: tuple[Shape, ...], where: str) -> None:
    if value is None and None in shapes:
        return
    *others, last = [shape for shape in shapes if shape is not None]
    for shape in others:
        try:
            return check_shape(value, shape, where)
        except ValueError:
            pass
    check_shape(value, last, where)


def _check_type(value: Any, kind: type, where: str) -> None:
    if kind is float:
        fits = type(value) in (int, float) and -LARGEST <= value <= LARGEST
    else:
        fits = kind is object or type(value) is kind
    if not fits:
        raise ValueError(f"{where or 'the whole'} is {short(value)}, not {WORDS[kind]}")
