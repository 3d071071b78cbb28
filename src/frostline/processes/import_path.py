"""Where modules are imported from: never the working directory, in which somebody's data may lie beside a `yaml.py`.

What is imported here must be loaded already when Python starts: nothing is safe to import before this has run.
"""

import os
import sys

SAFE = "PYTHONSAFEPATH"
"""Tells Python not to look in the working directory; what is started by this process inherits it."""


def leave_out_working_directory() -> None:
    """Import nothing from the working directory, in this process and in all that it starts.

    It stays where PYTHONPATH names it; an empty part of that, such as a colon at its end leaves, does not count.
    A folder that holds this package stays too.
    """
    os.environ[SAFE] = "1"
    named = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    if named:
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
    else:
        os.environ.pop("PYTHONPATH", None)
    here = os.path.realpath(os.getcwd())
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    if here not in (ours, *map(os.path.realpath, named)):
        sys.path[:] = [one for one in sys.path if os.path.realpath(one or os.curdir) != here]
