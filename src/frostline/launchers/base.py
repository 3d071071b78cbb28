"""What every launcher offers: runs go in, outcomes come out."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from frostline.allow import instantiate
from frostline.dispatch import Outcome
from frostline.results.store import run_folder, run_id


@dataclass(frozen=True, eq=False)
class Task:
    """One run to do: the name that is shown, and the resolved config."""

    name: str
    config: dict[str, Any]

    @cached_property
    def folder(self) -> Path:
        """The run's folder, named by its ID."""
        return run_folder(Path(self.config["outputs"]), run_id(self.config))


class Launcher(Protocol):
    """Executes runs; a context manager, on whose exit nothing of its own goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def workers(self) -> int:
        """How many runs can be on at the same time."""
        ...

    @property
    def running(self) -> list[tuple[Task, float]]:
        """The runs that are on, with the `time.monotonic` at which each was started."""
        ...

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Outcome, float]]:
        """Run every task; yield each as it ends, with how it ended and the seconds it took.

        A run whose record is final is not run again. One that fails is an outcome too; only an unusable output
        folder raises (UserError). ``tasks`` is asked for the next one when there is room for it. Runs that are on
        when the caller leaves are stopped and recorded as interrupted.
        """
        ...

    def call(self, function: str, *arguments: Any) -> Any:
        """Return what a top-level function, named with its module, returns in a worker; all of it is plain.

        A UserError comes back as it was raised. Raises UserError when the worker dies.
        """
        ...


def make_launcher(configs: Sequence[Mapping[str, Any]]) -> Launcher:
    """Return the launcher that the configs' node `launcher`, the same in all, names.

    It is told the largest number of devices that any of these runs takes. Raises UserError for a wrong key.
    """
    devices = max(config["trainer"].get("devices", 1) for config in configs)
    return instantiate(configs[0]["launcher"], "launcher", devices=devices)
