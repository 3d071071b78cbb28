"""`frostline cache`: what the prefix cache holds, whether it is sound, and less of it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from frostline.commands.list import moment
from frostline.config.compose import compose, resolve
from frostline.config.signature import check_value
from frostline.errors import printable
from frostline.features.cache import Store
from frostline.ranges import Gigabytes
from frostline.units import plural, size


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where verify found damage."""
    parser = argparse.ArgumentParser("frostline cache", description="The prefix cache of an output folder.")
    flag = parser.add_argument
    flag("action", choices=("list", "verify", "prune"), help="prune drops the least recently used entries")
    flag("--outputs", type=Path, default=Path("outputs"), metavar="DIR", help="the output folder (default: outputs)")
    flag("--max-gb", type=float, metavar="N", help="what prune leaves (default: cache.max_gb, as runs have it)")
    flag("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    store = Store(args.outputs / "cache")
    if args.action == "list":
        return show(store)
    if args.action == "verify":
        return verify(store)
    most = resolve(compose("run", [])).cache.max_gb if args.max_gb is None else args.max_gb
    check_value(most, Gigabytes, "--max-gb")
    dropped = store.prune(int(most * 1e9))
    print(f"{len(dropped)} dropped, {len(store.entries())} left")
    return 0


def show(store: Store) -> int:
    """Print every entry, the least recently used first."""
    table = Table("key", "size", "last used", "what")
    entries = store.entries()
    for entry in entries:
        table.add_row(
            Text(printable(entry.key[:12])),
            size(entry.bytes),
            moment(entry.used),
            Text(printable(entry.description)),
        )
    Console().print(table)
    held = size(sum(entry.bytes for entry in entries))
    print(f"{plural(len(entries), 'entry', 'entries')}, {held} in {printable(str(store.root))}")
    return 0


def verify(store: Store) -> int:
    """Compare every entry's content with its manifest; a damaged one is built anew by the next run that needs it."""
    damaged = store.verify()
    for key in damaged:
        print(f"damaged: {printable(key)}")
    sound = [entry for entry in store.entries() if entry.key not in damaged]
    print(f"{len(sound)} sound, {len(damaged)} damaged")
    return 1 if damaged else 0
