"""Which texts a table, a folder of tables or a set of the datasets library holds, with their labels and splits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frostline.data.folders import TABLES, Folder
from frostline.data.listing import Found, Listing, from_rows
from frostline.data.splits import SPLITS, USUAL, split_called
from frostline.data.tables.formats import READERS
from frostline.data.tables.rows import SPLIT, Row, check_columns, note_bad_rows, read_rows
from frostline.errors import UserError, read_first_line
from frostline.units import join_lines


@dataclass(frozen=True)
class TextRules:
    """How rows become texts: the columns, whether a row without a label is one, and whether bad rows are left out.

    ``split`` is the column of splits, as ``TableRows`` takes it.
    """

    text: str
    label: str
    split: str | None
    blank: bool
    skip: bool

    @property
    def columns(self) -> dict[str, str]:
        return {"text_column": self.text, "label_column": self.label}


@dataclass
class Collected:
    """Texts as they are read, and what was wrong with some."""

    reading: TextRules
    splits: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, split: str, row: Row) -> None:
        """Take the text of a row, or note what it lacks."""
        columns, blank = self.reading.columns.values(), self.reading.label if self.reading.blank else None
        if (reason := row.why_unusable(columns, blank)) is not None:
            self.bad.append(f"{row.name} {reason}")
            return
        text, label = row.cell(self.reading.text), row.cell(self.reading.label)
        self.splits.setdefault(split, []).append((row.name, label, text))

    def note(self, *notes: str) -> None:
        """Take what a user should be told."""
        self.notes += notes

    def finish(self, where: str, classes: Sequence[str] | None = None) -> Found:
        """Return all of it. Raises UserError for rows that lack something, unless they are to be left out."""
        notes = [*self.notes, *note_bad_rows(self.bad, where, self.reading.skip)]
        if not self.splits:
            raise UserError(f"{where} holds no texts.")
        listings = {split: Listing.of(rows) for split, rows in self.splits.items()}
        return replace(from_rows(listings, where, self.reading.split or SPLIT), classes=classes, notes=notes)


def read_file(file: str, reading: TextRules) -> Found:
    """Read one table, of which a column may say the split. Raises UserError as ``TableRows`` does."""
    collected = Collected(reading)
    rows = read_rows(Path(file).expanduser(), "data.file", reading.columns, reading.split)
    for row in rows:
        collected.add(row.split, row)
    collected.note(*rows.notes)
    return collected.finish(f"data.file: {file}")


def split_tables(root: str, symlinks: bool, ignored: list[str] | None = None) -> dict[str, Path]:
    """Return the table of each split in a folder; ``ignored`` is told of the tables that are named otherwise.

    Raises UserError where there is none of train, or two of one split.
    """
    folder = Folder("data.root", root, symlinks, TABLES)
    tables: dict[str, Path] = {}
    for name, _, is_folder in folder.list_entries(folder.real):
        if is_folder or Path(name).suffix.lower() not in READERS:
            continue
        split = split_called(Path(name).stem)
        if split is None:
            if ignored is not None:
                ignored.append(name)
        elif split in tables:
            raise UserError(f"data.root: {root} holds {tables[split].name} and {name}; a split is one table.")
        else:
            tables[split] = Path(folder.real, name)  # its own name says what it is, not that of the file it links to
    if "train" not in tables:
        raise UserError(f"data.root: {root} holds no {' or '.join(f'train{suffix}' for suffix in READERS)}.")
    return {split: tables[split] for split in SPLITS if split in tables}


def read_root(root: str, symlinks: bool, reading: TextRules) -> Found:
    """Read tables in a folder that are named train, val and test, or as people call these.

    Raises UserError as ``split_tables`` and ``TableRows`` do.
    """
    if reading.split not in (None, SPLIT):
        raise UserError(f"data.split_column: {reading.split!r} is of no use with data.root, where a table is a split.")
    collected, ignored = Collected(reading), list[str]()
    for split, table in split_tables(root, symlinks, ignored).items():
        rows = read_rows(table, "data.root", reading.columns)
        for row in rows:
            collected.add(split, row)
        collected.note(*rows.notes)
    if ignored:
        collected.note(f"ignored {len(ignored)} tables that are not named as a split: {join_lines(ignored, 3)}")
    return collected.finish(f"data.root: {root}")


def read_hub(path: str, subset: str | None, splits: Mapping[str, str | None], reading: TextRules) -> Found:
    """Read a set of the datasets library: from the hub, or a folder in which it was saved.

    ``splits`` are its names for ours; where None, the usual ones. Nothing that comes with a set is executed. Raises
    UserError for a set, split or column that is not there.
    """
    where = f"data.path: {path}"
    loaded = _load_set(path, subset)
    collected, classes = Collected(reading), None
    chosen = _choose_splits(loaded, splits, where)
    if unused := [name for name in loaded if name not in chosen.values()]:
        collected.note(f"left out the splits that are not used: {join_lines(unused)}")
    for split, name in chosen.items():
        table = loaded[name]
        check_columns(table.column_names, f"{path} ({name})", reading.columns)
        classes = getattr(table.features[reading.label], "names", None)
        for index, row in enumerate(_rows(table, reading)):
            label = row[reading.label]
            if classes is not None:  # a hidden label of a test split is None or -1
                label = None if label is None or label < 0 else classes[label]
            cells = {reading.text: row[reading.text], reading.label: label}
            collected.add(split, Row(f"{name}/{index}", f"{where}: row {index} of {name}", cells))
    return collected.finish(where, classes)


def _load_set(path: str, subset: str | None) -> Mapping[str, Any]:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError("data=hf_text needs the package datasets; run: pip install 'frostline[text]'.") from error
    datasets.disable_progress_bars()
    folder = Path(path).expanduser()
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        loaded = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(path, subset)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"data.path: {path} cannot be loaded ({read_first_line(error)}); give a hub's name or a saved set."
        ) from error
    return {"train": loaded} if isinstance(loaded, datasets.Dataset) else loaded  # type: ignore[return-value]


def _choose_splits(loaded: Mapping[str, Any], splits: Mapping[str, str | None], where: str) -> dict[str, str]:
    """Return the set's name of each split that is there: the one that is given, else the first that is called so."""
    chosen = {}
    for split in SPLITS:
        name = splits[split]
        if name is not None and name not in loaded:
            raise UserError(f"data.{split}_split: {where} has no {name!r}; its splits are: {', '.join(loaded)}.")
        usual = next((one for one in _sort_by_custom(loaded) if split_called(one) == split), None)
        if name or usual:
            chosen[split] = name or usual
    return chosen


def _sort_by_custom(names: Iterable[str]) -> list[str]:
    """Return the names of splits in the order of how usual they are: validation comes before dev."""
    usual = [one for names in USUAL.values() for one in names]
    return sorted((one for one in names if split_called(one)), key=lambda one: usual.index(one.strip().lower()))


def _rows(table: Any, reading: TextRules) -> Iterator[dict[str, Any]]:
    for batch in table.select_columns([reading.text, reading.label]).iter(batch_size=1000):
        for text, label in zip(batch[reading.text], batch[reading.label], strict=True):
            yield {reading.text: text, reading.label: label}
