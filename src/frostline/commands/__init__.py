"""The program `frostline`: thin commands on top of everything else."""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

from frostline import __version__
from frostline.errors import UserError, escape_unprintable
from frostline.files.atomic import DISK, NAMES, WriteError

LONGEST = 3000
COMMANDS = {
    "run": "one run, or a sweep of runs with -m",
    "compare": "freeze strategies x seeds on one data set and one backbone, then the report",
    "advise": "what to freeze, answered in the time that you give it",
    "tune": "hyper-parameter search with Optuna, then the report",
    "profile": "where along its depth a frozen network knows what the data need, before anything trains",
    "report": "write the report of a comparison again",
    "predict": "what a trained network says of new images, texts or sounds, as CSV or JSON lines",
    "export": "a trained network that runs without Frostline: ONNX, torch.export, safetensors, transformers",
    "list": "the runs of an output folder, the newest first",
    "cache": "list, verify or prune the prefix cache",
    "doctor": "versions, devices, where weights and data come from, and what is missing",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code: 0 done, 1 a run failed, 2 the user's mistake, 130 interrupted."""
    arguments = [*(sys.argv[1:] if argv is None else argv)]  # `list` here is the command's module, once imported
    name = arguments[0] if arguments else "--help"
    print_any_name()
    debug = "--debug" in arguments or any(one.lower() == "debug=true" for one in arguments)
    try:
        code = run_command(name, arguments[1:])
        sys.stdout.flush()
        return code
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"frostline: {format_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("frostline: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    except OSError as error:
        if (code := explain_write_error(error)) is None:
            raise
        if debug:
            traceback.print_exc()
        return code


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Do what is asked; return the exit code. Raises UserError for a name that is no command."""
    if name in ("-h", "--help"):
        print(make_help())
        return 0
    if name == "--version":
        print(f"frostline {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"{name!r} is no command; choose one of: {', '.join(COMMANDS)}.")
    try:
        return importlib.import_module(f"frostline.commands.{name}").main(arguments)
    except SystemExit as leaving:  # argparse's, after a --help or a mistake; what it has printed is not flushed yet
        sys.stdout.flush()
        raise leaving


def print_any_name() -> None:
    """Let names of any bytes be printed: a person sees escapes, a program gets the bytes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace" if sys.stdout.isatty() else NAMES)


def explain_write_error(error: OSError) -> int | None:
    """Print what the system does not let us write, and return the exit code for it; None for any other error."""
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as with `| head`
        _say_no_more()
        return 141
    if not isinstance(error, WriteError) and error.errno not in DISK:
        return None
    try:
        sys.stdout.flush()
    except OSError:  # it is standard output that cannot be written
        _say_no_more()
    print(f"frostline: {escape_unprintable(str(error))}; make room there, or choose another place.", file=sys.stderr)
    return 2


def _say_no_more() -> None:
    """Let what is still to be printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def format_error(error: UserError) -> str:
    """Return what an error says as one line that can be read, whatever value or name stands in it."""
    text = escape_unprintable(" ".join(str(error).splitlines()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 400]} ... {text[-400:]}"


def make_help() -> str:
    """Return the text of `frostline --help`."""
    from frostline.commands.arguments import list_choices

    lines = [
        "usage: frostline COMMAND [...]",
        "",
        "How much of a pretrained network to freeze, and what that costs.",
        "",
    ]
    lines += ["commands:", *(f"  {name:<9} {what}" for name, what in COMMANDS.items()), ""]
    lines += ["frostline COMMAND --help tells more. For example:"]
    lines += ["  frostline run data=imagefolder data.root=photos freeze=gradual seed=3", "", list_choices(None)]
    return "\n".join(lines)
