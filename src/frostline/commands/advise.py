"""`frostline advise`: what to freeze, answered in the time that it is given."""

import shlex
import time
from collections.abc import Sequence

from frostline.advice.candidates import make_inquiry
from frostline.advice.index import NAME
from frostline.api.advice import find_advice_folder, run_advice
from frostline.commands.arguments import parse
from frostline.commands.run import show
from frostline.launchers.progress import Screen

ABOUT = """\
Candidates race on validation for as long as advise.within says; the best is tested, once. The last line is the path of
its record."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where there is no answer."""
    began = time.monotonic()
    args = parse("advise", ABOUT, argv)
    if args.cfg:
        return show("advise", args)
    inquiry = make_inquiry(args.overrides, args.config_dir)
    command = shlex.join(["frostline", "advise", *(one for one in argv if one != "--debug")])
    answer = run_advice(inquiry, command, Screen(), began)
    print(find_advice_folder(inquiry) / NAME, flush=True)
    return 0 if answer is not None else 1
