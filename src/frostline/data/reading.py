"""New samples, found and read as those of a run's test split were: what every modality offers to those who serve."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from frostline.data.folders import Folder, Kind
from frostline.data.inputs import Inputs, Preprocess
from frostline.errors import UserError

STDIN = "-"
SHOWN = 10
CHECKED = 4
"""Samples of a run on which an exported network is compared with Frostline's."""


class RunData(NamedTuple):
    """How a run's data were prepared: by the ``options`` of its config, and by what is ``known`` of the training data.

    ``whole`` says whether its task's labels are of whole samples, which then may not be cut.
    """

    options: Mapping[str, Any]
    known: Mapping[str, Any]
    whole: bool


class Item(NamedTuple):
    """A sample that is not read yet: its name, its text or the path of its file, and why it cannot be read, if so."""

    name: str
    content: str
    reason: str | None = None


class Batch(NamedTuple):
    """Samples that could be read, as one batch (None: there are none), and a line for each that could not.

    ``lost`` counts what was changed or lost of those on reading.
    """

    names: list[str]
    inputs: Inputs | None
    bad: list[str]
    lost: Mapping[str, int] = {}


def make_batch(
    items: Sequence[Item], reasons: Sequence[str | None], make: Callable[[], Inputs], lost: Mapping[str, int]
) -> Batch:
    """Return the samples that have no reason against them as a batch; ``make`` is not called where there are none."""
    pairs = list(zip(items, reasons, strict=True))
    names = [item.name for item, reason in pairs if reason is None]
    bad = [f"{item.name} {reason}" for item, reason in pairs if reason is not None]
    return Batch(names, make() if names else None, bad, lost)


class Untaken:
    """What stands in folders and was not taken: how many, and the first of their names."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def add(self, names: Sequence[str]) -> None:
        """Count some more."""
        self.count += len(names)
        self.names += names[: SHOWN - len(self.names)]

    def describe(self, kind: Kind) -> str:
        """Return a sentence that counts and names them."""
        more = f"; and {self.count - SHOWN} more" if self.count > SHOWN else ""
        endings = ", ".join(sorted(kind.extensions))
        return f"{self.count} files are not named as {kind.noun} ({endings}): {'; '.join(self.names)}{more}"


@dataclass(frozen=True)
class Recipe:
    """How a program without Frostline makes a network's inputs.

    ``wanted`` holds plain values, which it reads from a file. ``template``, a path in this package, defines its
    function ``prepare``: it shows ``source``, functions of ours, and asks for ``values``, plain numbers and what
    decides between ways to write it. ``imports`` and ``plain_imports`` are lines of the program, for packages and for
    Python's own modules.
    """

    wanted: dict[str, Any]
    template: str
    imports: tuple[str, ...] = ()
    plain_imports: tuple[str, ...] = ()
    source: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


P = TypeVar("P", bound=Preprocess)


class Reader(ABC, Generic[P]):
    """Finds and reads new samples of one modality. ``kind`` says which files are some.

    ``noun`` and ``argument`` are what a program's help calls them. ``preprocess`` is what is done to them, with what
    the run's config asked for and its training data showed.
    """

    kind: ClassVar[Kind]
    noun: ClassVar[str]
    argument: ClassVar[str]
    preprocess: P
    run: RunData

    @abstractmethod
    def read(self, items: Sequence[Item]) -> Batch:
        """Return samples as a batch of what the network takes, exactly as in the test split of the run."""

    @abstractmethod
    def make_samples(self, folder: Path) -> list[Item]:
        """Return made-up samples, of several sizes; files are written into ``folder``."""

    def list_items(
        self, paths: Sequence[str], stdin: Iterable[str] = (), untaken: Untaken | None = None
    ) -> Iterator[Item]:
        """Yield what ``paths`` name, reading ahead as little as can be: files, folders, or lines of ``stdin`` ("-").

        ``untaken`` is told of what else stands in folders. Raises UserError for a path that is not there or is not of
        this kind, and where there is nothing at all.
        """
        count, untaken = 0, untaken or Untaken()
        for path in paths:
            for item in self._list_path(path, stdin, untaken):
                count += 1
                yield item
        if not count:
            others = f"; {untaken.describe(self.kind)}" if untaken.count else ""
            raise UserError(f"PATH: there are no {self.kind.noun} in {', '.join(paths)}{others}.")

    def _list_path(self, path: str, stdin: Iterable[str], untaken: Untaken) -> Iterator[Item]:
        if path == STDIN:
            yield from self.items_of_lines(stdin)
        elif os.path.isdir(path):
            for name, file in list_files(path, self.kind, untaken):
                yield from self.items_of_file(name, file)
        elif os.path.lexists(path):
            yield from self.items_of_file(path, path)
        else:
            raise UserError(f"PATH: there is no file or folder {path}.")

    def items_of_lines(self, lines: Iterable[str]) -> Iterator[Item]:
        """Yield the samples that lines of standard input name: by default each names a file."""
        names = (line.rstrip("\r\n") for line in lines)  # a name may begin or end with spaces
        yield from (Item(name, name) for name in names if name.strip())

    def items_of_texts(self, texts: Iterable[str]) -> Iterator[Item]:
        """Yield texts as samples, named by their place. Raises UserError: by default a sample is a file."""
        raise UserError(f"predict: this network reads no text but {self.kind.noun}: give paths of files or folders.")

    def items_of_file(self, name: str, file: str) -> Iterator[Item]:
        """Yield the samples in the file at the real path ``file``: by default it is one."""
        yield Item(name, file)

    def find_tested(self, names: Iterable[str]) -> list[Item]:
        """Return a few samples that the run was tested on, where they are still to be found.

        ``names`` are theirs, in order: by default they lead from the data's root to files.
        """
        data = self.run.options
        root = data.get("root") or (Path(data["manifest"]).parent if data.get("manifest") else None)
        if root is None:
            return []
        found = [(name, Path(root).expanduser() / name) for name in islice(names, CHECKED)]
        return [Item(name, str(path)) for name, path in found if path.is_file()]


def list_files(path: str, kind: Kind, untaken: Untaken) -> Iterator[tuple[str, str]]:
    """Yield (name, real path) of the files of a kind in a folder and its subfolders, in order; links are followed."""
    folder = Folder("PATH", path, symlinks=True, kind=kind)

    def tell() -> None:
        untaken.add(folder.ignored + [f"{name} (a folder of this program's own output)" for name in folder.outputs])
        folder.forget_names()

    for found in folder.files(folder.real, path.rstrip(os.sep)):
        tell()
        yield found
    tell()
