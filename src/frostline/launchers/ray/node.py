"""What is done on a node of a Ray cluster, in a process of Ray's that does this one thing and is gone."""

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.calls import call_by_name
from frostline.launchers.dispatch import dispatch
from frostline.processes.import_path import leave_out_working_directory
from frostline.results.record import read_versions
from frostline.results.store import LOG, run_folder, run_id


def carry_out(
    here: str, token: str | None, wanted: Mapping[str, str], given: Mapping[str, str], name: str, *arguments: Any
) -> Any:
    """Call the function of a name in the folder ``here``; all that goes in and out is plain.

    ``token`` is a file that the command has written to its output folder, ``wanted`` its versions, ``given`` the
    environment variables that configs among the arguments refer to. Raises UserError where this node has not the same.
    """
    os.environ.update(given)
    # Ray asks a task to end by SIGINT, which a script's & lets all that it starts ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _check_versions(wanted)
    _check_folders(here, token)
    leave_out_working_directory()
    return call_by_name(name, *arguments)


def run(plain: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Do one run in a process of its own; return whether it was run now, and its record. It speaks in its log."""
    config = Run.read(plain)
    folder = run_folder(Path(config.outputs), run_id(config))
    with (folder / LOG).open("ab") as file:
        os.dup2(file.fileno(), 2)
    outcome = dispatch(config)
    return outcome.fresh, outcome.record


def _check_versions(wanted: Mapping[str, str]) -> None:
    found = read_versions()
    other = [
        f"{name} {found.get(name)} in place of {wanted[name]}" for name in wanted if found.get(name) != wanted[name]
    ]
    if other:
        raise UserError(
            f"launcher.address: node {socket.gethostname()} has {', '.join(other)}; "
            "install the same versions on all nodes of the cluster."
        )


def _check_folders(here: str, token: str | None) -> None:
    try:
        os.chdir(here)
    except OSError as error:
        raise UserError(
            f"launcher.address: node {socket.gethostname()} cannot enter {here} ({error.strerror}), where the command "
            "was started; start it in a folder that all nodes share."
        ) from error
    if token is not None and not Path(token).exists():
        raise UserError(
            f"outputs: node {socket.gethostname()} does not see what was just written to {Path(token).parent}; "
            "choose a folder that all nodes share."
        )
