"""What is not installed skips the tests that need it, in one way: the reason names the extra that brings it."""

from collections.abc import Iterator

import pytest

from frostline.commands.doctor import EXTRAS, is_installed

MODULES = {name: modules for name, modules, _ in EXTRAS}


def need(extra: str) -> None:
    """Skip the test or the module that calls this where an extra is not installed, which it does not import itself."""
    if not all(map(is_installed, MODULES[extra])):
        pytest.skip(reason(extra), allow_module_level=True)


def reason(extra: str) -> str:
    """Return what is said of a test that needs an extra."""
    return f"needs the extra {extra}: pip install 'frostline[{extra}]'"


def lacking(error: BaseException) -> str | None:
    """Return the extra for want of whose module this error came about, if it is one that is really not installed."""
    for cause in causes(error):
        if isinstance(cause, ModuleNotFoundError):
            module = str(cause.name).partition(".")[0]
            for extra, modules in MODULES.items():
                if module in modules and not is_installed(module):
                    return extra
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
