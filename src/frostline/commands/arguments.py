"""The command line that commands with overrides share, and the hand-over to Hydra."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.config.allow import allow, is_own
from frostline.config.compose import keep_references, list_config_groups, make_searchpath_override, search_path
from frostline.config.hydra_state import borrowing_hydra
from frostline.config.schema import find_conf_dir

OVERRIDES = """\
An override is Hydra's: GROUP=CHOICE, KEY=VALUE, +KEY=VALUE for an argument that the YAML leaves out, ~KEY to drop one.
--cfg job shows the whole config."""
OWN: Mapping[str, Sequence[tuple[Sequence[str], str]]] = {
    "run": (
        (("-m", "--multirun"), "a sweep: seed=0,1,2 runs three; a failed run stops no other"),
        (("--taps",), "list the depths at which the network can be read; run nothing"),
    ),
    "compare": ((("--plan",), "say what would run, what is there and how long it takes; run nothing"),),
    "advise": (
        (("--plan",), "say who would race and about what each takes; run nothing"),
        (("--json",), "print advice.json itself"),
    ),
    "tune": ((("--plan",), "say what would run, what is there and how long it takes; run nothing"),),
    "profile": ((("--json",), "print profile.json itself"),),
}
"""The flags that only some commands have."""


def list_choices(config_dir: Path | None) -> str:
    """Return the choices of every config group, one group a line."""
    found = list_config_groups(config_dir)
    width = max(len(name) for name in found)
    lines = (f"  {group:<{width}}  {', '.join(names)}" for group, names in found.items())
    return "\n".join(["choices (GROUP=CHOICE):", *lines])


def parse(name: str, about: str, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the flags and overrides of a command in ``OWN``; --help prints and exits.

    The flags --allow, --debug and --detach take effect here: on the allow-list, and as overrides.
    """
    parser = argparse.ArgumentParser(
        f"frostline {name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    flag = parser.add_argument
    flag("overrides", nargs="*", metavar="OVERRIDE", help="such as data=imagefolder data.root=photos epochs=20")
    flag("-h", "--help", action="store_true", help="show this and the choices of every config group")
    for names, what in OWN[name]:
        flag(*names, action="store_true", help=what)
    flag("-c", "--cfg", choices=("job", "hydra", "all"), help="show the config instead of running")
    flag("--resolve", action="store_true", help="with --cfg: with interpolations filled in")
    flag("-cd", "--config-dir", type=Path, metavar="DIR", help="a folder of config groups of your own")
    if name != "profile":
        flag("--detach", action="store_true", help="with launcher=slurm: submit and leave; the same command goes on")
    flag("--allow", action="append", default=[], metavar="MODULE", help="let configs name what is in this module")
    flag("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_intermixed_args(argv)
    if args.help:
        print(f"{parser.format_help()}\n{OVERRIDES}\n\n{list_choices(args.config_dir)}")
        raise SystemExit(0)
    if args.resolve and not args.cfg:
        parser.error("--resolve goes with --cfg")
    if name == "tune" and args.detach:
        parser.error("--detach: a study asks for one trial after another, and cannot be left")
    if name == "run" and args.multirun and (args.cfg or args.taps):
        parser.error(f"{'--cfg shows one config' if args.cfg else '--taps lists those of one network'}: leave out -m")
    allow(args.allow)
    given = {"debug=true": args.debug, "launcher.detach=true": getattr(args, "detach", False)}
    return replace_overrides(args, [*choose_own(args.overrides), *(text for text, wanted in given.items() if wanted)])


def replace_overrides(args: argparse.Namespace, overrides: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command with other overrides."""
    return argparse.Namespace(**{**vars(args), "overrides": list(overrides)})


def choose_own(overrides: Sequence[str]) -> list[str]:
    """Return overrides with `backbone=own` or `data=own` for each `_target_` among them that a flag --allow allows.

    The keys of the choice that stands by default are another target's. A choice that is made stays.
    """
    keys = [text.partition("=")[::2] for text in overrides]
    chosen = {key for key, _ in keys}
    added = [
        f"{group}=own"
        for group in ("backbone", "data")
        if group not in chosen and any(key == f"{group}._target_" and is_own(value) for key, value in keys)
    ]
    return [*added, *overrides]


def hand_over(root: str, args: argparse.Namespace, flags: Sequence[str], task: Callable[[Any], None]) -> None:
    """Give the overrides to Hydra's own main with ``flags``; what it raises comes to the caller.

    The configs must have been composed and checked: Hydra imports what its own node names.
    """
    import hydra

    extra = [make_searchpath_override(search_path(args.config_dir))] if args.config_dir else []
    sys.argv = [sys.argv[0], *args.overrides, *extra, *flags]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with borrowing_hydra(root), keep_references():
        hydra.main(config_path=str(find_conf_dir()), config_name=root, version_base="1.3")(task)()
