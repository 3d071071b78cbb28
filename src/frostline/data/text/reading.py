"""New texts, read as those of a run's test split were."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from torch import Tensor

from frostline.data.folders import Kind
from frostline.data.inputs import pad_sequences
from frostline.data.reading import CHECKED, Batch, Item, Reader, RunData, make_batch
from frostline.data.tables.formats import READERS
from frostline.data.tables.rows import find_flaw, read_rows
from frostline.data.text.encoded import Writing
from frostline.errors import UserError
from frostline.files.atomic import NAMES, describe_irregular

LINES = ".txt"
SAMPLES = ("a", "Half a sentence of some length, and", "no more than this.", "words " * 40)


class TextReader(Reader[Writing]):
    """Reads texts: lines of text files and of standard input, and cells of tables, in the column ``text_column``."""

    kind = Kind("texts", frozenset({LINES, *READERS}))
    noun, argument = "texts", "TEXT"

    def __init__(self, preprocess: Writing, run: RunData) -> None:
        self.preprocess, self.run = preprocess, run
        self.column: str = run.options.get("text_column", "text")

    def read(self, items: Sequence[Item]) -> Batch:
        reasons = [item.reason or (find_flaw(item.content) if item.content else "has no text") for item in items]
        kept = [index for index, reason in enumerate(reasons) if reason is None]
        texts = [items[index].content for index in kept]
        made = self.preprocess.encode(texts) if kept else []
        cut = self.preprocess.count_cut(texts, made)
        lost = {f"are longer than {self.preprocess.room} and were cut": cut}
        if isinstance(made, Tensor):
            return make_batch(items, reasons, lambda: made, lost)
        for index, sequence in zip(kept, made, strict=True):
            if not len(sequence):
                reasons[index] = "has no tokens"
        return make_batch(items, reasons, lambda: pad_sequences([one for one in made if len(one)]), lost)

    def make_samples(self, folder: Path) -> list[Item]:
        return [Item(f"text {place}", text.strip()) for place, text in enumerate(SAMPLES)]

    def items_of_lines(self, lines: Iterable[str]) -> Iterator[Item]:
        yield from name_lines("stdin", lines)

    def items_of_texts(self, texts: Iterable[str]) -> Iterator[Item]:
        yield from (Item(str(place), text) for place, text in enumerate(texts))

    def items_of_file(self, name: str, file: str) -> Iterator[Item]:
        """Yield the texts of a file, whose name says what it is, not that of one which it links to."""
        ending = Path(name).suffix.lower()
        if ending not in self.kind.extensions:
            endings = ", ".join(sorted(self.kind.extensions))
            raise UserError(f"PATH: {name} is no file of texts; their names end in {endings}.")
        if (what := describe_irregular(file)) is not None:
            yield Item(name, "", what)
        elif ending in READERS:
            for row in read_rows(Path(name), "PATH", {"text_column": self.column}):
                yield Item(f"{name}:{row.name.rpartition(':')[2]}", row.cell(self.column))
        else:
            try:
                with open(file, encoding="utf-8-sig", errors=NAMES) as opened:
                    yield from name_lines(name, opened)
            except OSError as error:
                yield Item(name, "", f"cannot be read ({error.strerror})")

    def find_tested(self, names: Iterable[str]) -> list[Item]:
        """Return texts of the test table, or of the only one."""
        data = self.run.options
        root = Path(data.get("root") or ".").expanduser()
        file = data.get("file")
        tables = [Path(file).expanduser()] if file else [root / f"test{ending}" for ending in READERS]
        for table in tables:
            if table.is_file():
                return [item for item in islice(self.list_items([str(table)]), CHECKED) if item.content]
        return []


def name_lines(name: str, lines: Iterable[str]) -> Iterator[Item]:
    """Yield the lines that hold anything, named by their number."""
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield Item(f"{name}:{number}", text)
