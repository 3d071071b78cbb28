"""Lets `python -m frostline` be the program `frostline`."""

import sys

from frostline.commands import main

sys.exit(main())
