"""`frostline predict`: what a trained network says of new images, texts or sounds."""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from frostline.config.allow import allow
from frostline.errors import UserError, escape_unprintable
from frostline.files.atomic import NAMES
from frostline.files.leftovers import name_temporary
from frostline.serving.runs import find_run, refuse_misfits

ABOUT = """\
Label new samples with the network of a run, at its best epoch, prepared as in the run's test split. A PATH is a file,
a folder, or - for standard input: of images and sounds one path a line, of texts one text a line. Texts come from .txt
(one a line), .csv, .tsv, .jsonl and .parquet files."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser("frostline predict", description=ABOUT, allow_abbrev=False)
    flag = parser.add_argument
    flag("run", metavar="RUN", help="a run's folder, or the first digits of its ID")
    flag("paths", nargs="+", metavar="PATH", help="a file, a folder, or - for standard input")
    flag("--outputs", type=Path, default=Path("outputs"), metavar="DIR", help="where IDs are looked for (outputs)")
    flag("--format", choices=("csv", "jsonl"), default="csv", help="a table, or an object of JSON a line (csv)")
    flag("--output", type=Path, metavar="FILE", help="where to write; without it, standard output")
    flag("--batch-size", type=int, metavar="N", help="samples at a time (the run's data.batch_size)")
    flag("--on-bad", choices=("error", "skip"), default="error", help="samples that cannot be read (error)")
    flag("--text-column", metavar="NAME", help="of tables (the run's data.text_column, else text)")
    flag("--allow", action="append", default=[], metavar="MODULE", help="let configs name what is in this module")
    flag("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_intermixed_args(argv)
    if args.batch_size is not None and args.batch_size < 1:
        raise UserError(f"--batch-size: {args.batch_size} is invalid: expected a whole number of 1 or more.")
    allow(args.allow)
    folder, record = find_run(args.run, args.outputs)
    with opening_output(args.output) as file:
        write_predictions(folder, record, args, file)
    return 0


def write_predictions(folder: Path, record: dict, args: argparse.Namespace, file: TextIO) -> None:
    """Write the predictions that are asked for."""
    from frostline.data.reading import Batch, Item, Untaken
    from frostline.serving.predict import make_writer, predict
    from frostline.serving.reading import make_reader
    from frostline.serving.restored import restore

    with refuse_misfits(folder):
        model = restore(folder, record)
        reader = make_reader(model, args.text_column)
    size = args.batch_size or record["config"]["data"]["batch_size"]
    console = Console(stderr=True, highlight=False)
    skipped: list[int] = []

    def skip(lines: Sequence[str]) -> None:
        skipped.append(len(lines))
        for line in lines:
            console.print(f"left out: {escape_unprintable(line)}", markup=False, soft_wrap=True)

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors=NAMES)
    lost, untaken = Counter[str](), Untaken()

    def reading(samples: Sequence[Item]) -> Batch:
        batch = reader.read(samples)
        lost.update(batch.lost)
        return batch

    found = reader.list_items(args.paths, sys.stdin, untaken)
    write = make_writer(args.format, model.task, file)
    with make_progress(console) as bar:
        task = bar.add_task("samples", total=None)
        for answers in predict(model, reading, found, size, skip if args.on_bad == "skip" else None):
            for answer in answers:
                write(answer)
            bar.advance(task, len(answers))
    for text, count in (+lost).items():  # of those that there are
        console.print(f"{count} samples {text}.", markup=False, soft_wrap=True)
    if skipped:
        console.print(f"{sum(skipped)} samples could not be read and were left out.")
    if untaken.count:
        said = escape_unprintable(untaken.describe(reader.kind))
        console.print(f"{said}; they were left out.", markup=False, soft_wrap=True)


def make_progress(console: Console) -> Progress:
    """Return a bar that shows how many samples are done, where there is a terminal to show it."""
    columns = SpinnerColumn(), TextColumn("{task.completed} {task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def opening_output(path: Path | None) -> Iterator[TextIO]:
    """Give a file to write to, which is at ``path`` only when all is written; without a path, standard output.

    Raises UserError where it cannot be written.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors=NAMES)
        yield sys.stdout
        return
    try:
        temporary = name_temporary(path)
        opened = temporary.open("x", newline="", encoding="utf-8", errors=NAMES)
    except OSError as error:
        raise UserError(f"--output: {path} cannot be written ({error.strerror}); choose another place.") from error
    try:
        with opened:
            yield opened
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
