"""What a network computes beyond its weights: a digest of its structure, its settings and the user's own code in it."""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import partial
from inspect import getclosurevars
from logging import Logger
from pathlib import Path
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from frostline.backbones.weights.loading import fingerprint

SETTINGS = (bool, int, float, complex, str, bytes, type(None), range, slice, EllipsisType, Enum)
SETTINGS += (np.generic, torch.dtype, torch.device, torch.layout)
CODE = (CodeType, ModuleType, type, FunctionType, BuiltinFunctionType, MethodType)
PACKAGES = {"site-packages", "dist-packages"}
SLOTS = frozenset(vars(nn.Module()))
"""What every module has: its parameters, buffers, modules, hooks and mode."""


def digest_code(network: nn.Module) -> tuple[str, list[str]]:
    """Return a SHA-256 of what the network's forward pass computes from its weights, and what could not be read of it.

    It covers each module's class and settings and, of classes and functions that are in no installed package, the
    compiled code, with the functions, classes and values that the code names. So it changes with the version of Python.
    """
    reader = _Reader()
    for name, module in network.named_modules():
        reader.read_module(name, module)
    return hashlib.sha256("\n".join(reader.lines).encode()).hexdigest(), reader.unread


def is_installed(module: str) -> bool:
    """Return whether a module is Python's, Frostline's or of an installed package, and so no code of the user's."""
    top = module.partition(".")[0]
    if top == "frostline" or top in sys.builtin_module_names or top in sys.stdlib_module_names - {"__main__"}:
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is not None and bool(PACKAGES & set(Path(file).parts))


class _Reader:
    """Collects lines that stand for code; each function and class is read once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.unread: list[str] = []
        self._known: set[int] = set()

    def read_module(self, name: str, module: nn.Module) -> None:
        kind, where = type(module), name or "the network"
        self.lines.append(f"module {name} {kind.__module__}.{kind.__qualname__} {module.extra_repr()}")
        if isinstance(module, torch.jit.ScriptModule):
            self.unread.append(f"{where} is a ScriptModule")
        if isinstance(module, fx.GraphModule):
            self.lines.append(module.code)
        self._read_class(kind)
        theirs = is_installed(kind.__module__)
        for key, value in vars(module).items():
            if key not in SLOTS and not (theirs and _is_private(value)):
                self.lines.append(f"{key}={self._describe(value, f'{where}.{key}')}")
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            theirs = is_installed(type(hook).__module__) and not isinstance(hook, CODE)
            self.lines.append(f"hook {type(hook) if theirs else self._describe(hook, f'a hook of {where}')}")

    def _describe(self, value: Any, where: str) -> str:
        """Return text that stands for a value, after reading the code that it leads to."""
        if isinstance(value, SETTINGS):
            return repr(value)
        if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biufc"):
            return fingerprint({"": torch.as_tensor(value)})
        if isinstance(value, Mapping):
            return self._describe_all([part for pair in value.items() for part in pair], where)
        if isinstance(value, set | frozenset):
            return str(sorted(self._describe(one, where) for one in value))
        if isinstance(value, tuple | list):
            return self._describe_all(value, where)
        if isinstance(value, partial):
            return self._describe_all([value.func, value.args, value.keywords], where)
        if isinstance(value, CODE):
            return self._describe_code(value, where)
        if isinstance(value, staticmethod | classmethod | property):
            return self._describe_wrapped(value, where)
        if not isinstance(value, Logger):
            self.unread.append(f"{where} is a {type(value).__name__}")
        return type(value).__name__

    def _describe_all(self, values: Iterable[Any], where: str) -> str:
        return str([self._describe(one, where) for one in values])

    def _describe_wrapped(self, value: staticmethod | classmethod | property, where: str) -> str:
        parts = (value.fget, value.fset) if isinstance(value, property) else (value.__func__,)
        return f"{type(value).__name__} {self._describe_all(parts, where)}"

    def _describe_code(self, value: Any, where: str) -> str:
        if isinstance(value, CodeType):
            consts = self._describe_all(value.co_consts, where)
            return f"{value.co_code.hex()} {value.co_exceptiontable.hex()} {value.co_names} {consts} {value.co_flags}"
        if isinstance(value, MethodType):
            return f"method {self._describe(value.__func__, where)}"
        home = value.__name__ if isinstance(value, ModuleType) else value.__module__ or "builtins"
        name = "" if isinstance(value, ModuleType) else value.__qualname__
        if not is_installed(home):
            if isinstance(value, ModuleType):
                self._read_file(value)
            elif isinstance(value, type):
                self._read_class(value)
            elif isinstance(value, FunctionType):
                self._read_function(value)
            else:
                self.unread.append(f"{home}.{name} is compiled")
        return f"{home}.{name}"

    def _is_new(self, value: object) -> bool:
        new = id(value) not in self._known
        self._known.add(id(value))
        return new

    def _read_class(self, kind: type) -> None:
        for each in kind.__mro__:
            if is_installed(each.__module__) or not self._is_new(each):
                continue
            for key, value in vars(each).items():
                function = isinstance(value, FunctionType) and key != "__init__"  # what that made is there to be read
                if function or not key.startswith(("__", "_abc_")):
                    where = f"{each.__qualname__}.{key}"
                    self.lines.append(f"{where} {self._describe(value, where)}")

    def _read_function(self, function: FunctionType) -> None:
        if not self._is_new(function):
            return
        name = function.__qualname__
        self.lines.append(f"def {name} {self._describe(function.__code__, name)}")
        for value in (function.__defaults__, function.__kwdefaults__, *getclosurevars(function).nonlocals.values()):
            self.lines.append(self._describe(value, name))
        if PACKAGES & set(Path(function.__code__.co_filename).parts):  # a decorator of theirs around what is in a cell
            return
        for used in sorted(_names(function.__code__) & set(function.__globals__)):
            self.lines.append(f"{used} {self._describe(function.__globals__[used], used)}")

    def _read_file(self, module: ModuleType) -> None:
        """Read a module that code names as a whole: which of its functions are used is not looked into."""
        if not self._is_new(module):
            return
        try:
            self.lines.append(hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest())
        except OSError:
            self.unread.append(f"{module.__name__} has no file")


def _names(code: CodeType) -> set[str]:
    """Return the names that code, and the code inside it, looks up."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)


def _is_private(value: Any) -> bool:
    """Return whether an attribute of a package's module is neither a setting nor a function that was put in there."""
    if isinstance(value, tuple | list):
        return any(_is_private(one) for one in value)
    return not isinstance(value, (*SETTINGS, *CODE))
