"""A Ray cluster: one of our own on this machine, or one that runs already."""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from frostline.config.allow import VARIABLE
from frostline.config.secrets import find_variables
from frostline.errors import UserError
from frostline.files.atomic import write_atomic
from frostline.files.leftovers import make_name, make_private_folder, sweep_once
from frostline.launchers.calls import name_of
from frostline.launchers.dispatch import MEMORY
from frostline.launchers.ray.node import carry_out
from frostline.processes.import_path import SAFE
from frostline.results.record import read_versions

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would send the whole folder to the nodes
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes all that Ray starts listen on 127.0.0.1, as on systems where it knows no cluster of several machines."""
ON_NODES = {**MEMORY, SAFE: "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}  # what was promised no GPU sees none
HANDED_ON = (VARIABLE, "PYTHONPATH")
SESSIONS = "r"  # sockets lie below it, whose paths have room for 107 characters
KNOCK_S = 5.0
STORE_BYTES = 100 << 20  # what goes through Ray is a config and a record; its default is 30% of the memory


class Cluster:
    """The connection to a cluster, until it is closed; it starts one where ``address`` is None.

    The cluster of our own listens on this machine alone, and has a token that only this command knows: who can reach
    an open Ray cluster can run anything on it. Its folder is below /tmp, since the paths of sockets are short, and
    in one that no other user can enter, for Ray opens its own to everybody.
    Raises UserError where there is no Ray, or no cluster.
    """

    def __init__(self, address: str | None, dashboard: bool):
        self.address = address
        os.environ.update({**QUIET, SAFE: "1"})
        if address is None:
            os.environ.update(LOOPBACK)
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        self.ray = _ray()
        self._folder: Path | None = None
        self._token: Path | None = None
        if address not in (None, "auto"):
            _knock(address)
        context = self._start(dashboard) if address is None else self._init(address)
        self.url: str = context.dashboard_url
        if dashboard:
            print(f"Ray's dashboard: http://{self.url} (token {os.environ['RAY_AUTH_TOKEN']})", file=sys.stderr)
        self._task = self.ray.remote(max_calls=1, max_retries=0)(carry_out)  # Ray runs nothing twice

    def _start(self, dashboard: bool) -> Any:
        self._folder = make_private_folder(Path("/tmp"))
        own = {"object_store_memory": STORE_BYTES, "_temp_dir": str(self._folder / SESSIONS)}
        try:
            return self._init("local", include_dashboard=dashboard, dashboard_host="127.0.0.1", **own)
        except BaseException:
            self.close()
            raise

    def _init(self, address: str, **options: Any) -> Any:
        handed = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        runtime = {"env_vars": {**ON_NODES, **handed}}
        try:
            with chdir(self._folder or "/"):  # Ray has its workers import from the working directory first of all
                return self.ray.init(
                    address, runtime_env=runtime, log_to_driver=False, configure_logging=False, **options
                )
        except (ConnectionError, ValueError, RuntimeError, self.ray.exceptions.RayError) as error:
            first = str(error).strip().partition("\n")[0]
            raise UserError(f"launcher.address={self.address or 'null'}: there is no Ray cluster: {first}") from error

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive and have cores to give: the head of a cluster may have none."""
        return [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]

    def count_room(self, cpus: int, gpus: float) -> int:
        """Return how many runs the cluster holds that take so many cores and GPUs of one node."""
        held = [node["Resources"] for node in self.nodes]
        fits = [min(one.get("CPU", 0) / cpus, one.get("GPU", 0) / gpus if gpus else float("inf")) for one in held]
        return sum(int(number + 1e-9) for number in fits)  # 1 / 0.2 may come to a little less than 5

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Let some node call a top-level function; return what to wait for. ``options`` are Ray's own."""
        token = None if self._token is None else str(self._token)
        given = find_variables(arguments)
        return self._task.options(**options).remote(
            os.getcwd(), token, read_versions(), given, name_of(function), *arguments
        )

    def check(self, outputs: Path) -> None:
        """Make sure that every node has what this machine has; UserError says which has not.

        A file in ``outputs`` shows it, and stays until the end for nodes that join.
        """
        if self.address is None:
            return
        sweep_once(outputs)
        self._token = outputs.absolute() / f".{make_name()}.ray"
        try:
            write_atomic(self._token, "")
        except OSError as error:
            raise UserError(f"outputs: {outputs} cannot be written ({error.strerror}); choose another.") from error
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in self.nodes]
        for reference in [self.submit(os.getpid, num_cpus=0, scheduling_strategy=one) for one in here]:
            self.fetch_result(reference, "launcher.address")

    def fetch_result(self, reference: Any, what: str) -> Any:
        """Return what a node's function returned, or raise what it raised; UserError where its process was lost."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise UserError(f"{what}: {describe_loss(error)}.") from error

    def cancel(self, references: Sequence[Any], patience_s: float) -> None:
        """Stop what is on: asked first, which leaves a run time for a checkpoint, then forced."""
        for reference in references:
            self.ray.cancel(reference)
        left = list(references)
        if left:
            _, left = self.ray.wait(left, num_returns=len(left), timeout=patience_s)
        for reference in left:
            self.ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; one of our own ends, and its files with it."""
        self.ray.shutdown()
        if self._token is not None:
            self._token.unlink(missing_ok=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)  # Ray's last process may be writing to it still


def describe_loss(error: Exception) -> str:
    """Return what an error of Ray's own says of a process, in its first sentence."""
    first = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"Ray lost the worker ({type(error).__name__}: {first})"


def _knock(address: str) -> None:
    """Raise UserError unless somebody listens at an address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"launcher.address: {address!r} is invalid: expected auto, HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"launcher.address: nobody answers at {address!r} ({error}).") from error


def _ray() -> Any:
    """Import Ray, which looks at the environment only then."""
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise UserError("launcher=ray: Ray is not installed; pip install 'frostline[ray]' brings it.") from error
    return ray
