"""What every test stands on: few threads, no allow-list but ours, the program in a process of its own, fair skips."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings
from tests.extras import lacking, reason

os.environ["OMP_NUM_THREADS"] = "1"  # small networks gain nothing from threads, and lose where cores are shared
os.environ.pop("FROSTLINE_ALLOW", None)
# What is not about GPUs sees none, nor do the processes that it starts; tests/gpu gives one back, by its name.
os.environ.setdefault("GPU_OF_TESTS", os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0])
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Shared machines stall. Each run tries the same examples, so that a change is judged by what it changes; to search for
# new ones: pytest --hypothesis-profile=search.
settings.register_profile("frostline", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, derandomize=False)
settings.load_profile("frostline")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Undo what Hydra does to logging where a test lets it run in this process: it turns loggers that exist off."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.disabled = False


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def frostline(tmp_path: Path) -> Program:
    """Run `python -m frostline` with arguments, in the test's own folder, and return what came of it."""

    def run(*arguments: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "frostline", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            text=True,
            capture_output=True,
            timeout=timeout,
        )

    return run


class Module(pytest.Module):
    """A file of tests that is skipped, with its reason, where it imports what an extra brings that is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return super().collect()
        except self.CollectError as error:
            skip_or_raise(error)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Module:
    return Module.from_parent(parent, path=module_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    return (yield from skipped_without_extras())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from skipped_without_extras())


def skipped_without_extras() -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        skip_or_raise(error)


def skip_or_raise(error: Exception) -> NoReturn:
    """Skip what failed for want of an extra; every other failure is one."""
    extra = lacking(error)
    if extra is None:
        raise
    pytest.skip(reason(extra))
