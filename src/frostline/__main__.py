"""The program `frostline`, also as `python -m frostline`, which puts the working directory first on the path."""

from frostline.processes.import_path import leave_out_working_directory

leave_out_working_directory()  # before anything else is imported

import sys  # noqa: E402

from frostline.commands import main  # noqa: E402

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
