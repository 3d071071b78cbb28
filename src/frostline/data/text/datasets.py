"""Text data sets: tables of texts and labels, and the sets of the datasets library, made ready for a backbone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from frostline.data.base import Contents, DataModule, Facts, Loading, Preparation
from frostline.data.divide import count_duplicates, divide
from frostline.data.image.pixels import encode_png
from frostline.data.inputs import Inputs, Preprocess, Ragged, check_modality, digest
from frostline.data.listing import Found, Listing
from frostline.data.loading import Oddity
from frostline.data.options import Options
from frostline.data.splits import SPLITS
from frostline.data.text.corpus import TextRules, read_file, read_hub, read_root
from frostline.data.text.encoded import Encoded, Writing, encode
from frostline.data.text.rendering import Rendered
from frostline.errors import UserError
from frostline.files.atomic import sha256_json
from frostline.ranges import Count

PIPELINE = 1
"""Raised by hand when the way from a text to its tokens changes, so that no old cache entry is taken for a new one."""

PAGE = Rendered(size=240, font=14)
"""How a text is drawn for a person to look at."""

WORDLESS = Oddity(False, "has no letter or digit")


@dataclass(frozen=True, kw_only=True)
class TextOptions(Options):
    """The keys that all text data sets share; ``preprocess`` and ``augment`` come from the rest of a run.

    ``tokens`` is for the builder of the backbone, in whose ``preprocess`` it stands. Raises UserError naming the key
    whose value is out of range.
    """

    preprocess: Preprocess
    augment: None
    tokens: Count
    token_cache: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment is not None:
            raise UserError("augment: it is for images; with text it is none.")

    @property
    def folder(self) -> Path | None:
        """Where tokens are kept."""
        return None if self.token_cache is None else Path(self.token_cache).expanduser()

    def make_rules(self, text: str, label: str, split: str | None = None) -> TextRules:
        """Return how rows with these columns become texts."""
        return TextRules(text, label, split, self.task.blank, self.on_bad == "skip")


class TextSplit:
    """One split's texts as tokens, made once; as pictures, made once where they fit and batch by batch where not."""

    def __init__(self, listing: Listing, labels: Tensor, preprocess: Writing, options: TextOptions) -> None:
        self.names, self.labels = listing.names, labels
        self._texts: list[str] = list(listing.content)
        self._preprocess = preprocess
        self.digests = [digest(text) for text in self._texts]
        self.fingerprint = sha256_json([*zip(self.names, labels.tolist(), self.digests, strict=True)])
        self._encoded: Encoded | None = None
        self._pictures: Tensor | None = None
        if isinstance(preprocess.example(1, preprocess.size), Ragged):
            self._encoded = encode(preprocess, self._texts, sha256_json(self.digests), options.folder)
            self._refuse_empty()
        self._small = len(self) * 3 * preprocess.size**2 <= options.memory_gb * 2**30

    def __len__(self) -> int:
        return len(self.names)

    @property
    def costly(self) -> bool:
        """Whether a batch must be drawn."""
        return self._encoded is None and not self._small

    @property
    def lengths(self) -> Tensor | None:
        """Return how many tokens each text has."""
        return None if self._encoded is None else self._encoded.lengths

    @cached_property
    def cut(self) -> int:
        """How many texts are longer than allowed, or than their pictures have room for."""
        return self._preprocess.count_cut(self._texts, []) if self._encoded is None else self._encoded.cut

    def check(self) -> list[str]:
        """Draw all texts that are wanted as pictures, once, where they fit; nothing can be wrong with one."""
        if self._encoded is None and self._small and self._pictures is None:
            self._pictures = self._draw(range(len(self)))
        return []

    def inputs(self, indices: Tensor, view: int) -> Inputs:
        """Return tokens, or uint8 pictures [B, 3, S, S]."""
        self.check()
        return self.peek(indices)

    def peek(self, indices: Tensor) -> Inputs:
        """Return the inputs of a few texts, drawing no others."""
        if self._encoded is not None:
            return self._encoded.take(indices)
        return self._draw(indices.tolist()) if self._pictures is None else self._pictures.index_select(0, indices)

    def measure(self) -> dict[str, list[float]]:
        """Return how many characters each text has: as it was read, not as it is cut."""
        return {"characters": [float(len(text)) for text in self._texts]}

    def find_oddities(self, indices: Tensor) -> list[Oddity | None]:
        """Return what is odd about these texts: there is not a word in them."""
        return [None if any(map(str.isalnum, self._texts[index])) else WORDLESS for index in indices.tolist()]

    def preview(self, index: int) -> bytes:
        """Return a text drawn on a small page, as a PNG."""
        return encode_png(PAGE.encode([self._texts[index]])[0])

    def _draw(self, indices: Iterable[int]) -> Tensor:
        pictures = self._preprocess.encode([self._texts[index] for index in indices])
        assert isinstance(pictures, Tensor)
        return pictures

    def _refuse_empty(self) -> None:
        assert self._encoded is not None
        empty = (self._encoded.lengths == 0).nonzero().flatten().tolist()
        if empty:
            raise UserError(f"data: {self.names[empty[0]]} has no tokens; {len(empty)} texts are like that.")


def prepare(name: str, found: Found, fractions: Mapping[str, float], options: TextOptions) -> Contents:
    """Return what a DataModule is made of: missing splits drawn, all of it checked, digested and tokenised."""
    check_modality(options.preprocess, "text", f"data={name}")
    preprocess = cast(Writing, options.preprocess)
    divided = divide(found, fractions, options, files=False)
    splits = {
        split: TextSplit(listing, divided.labels[split], preprocess, options)
        for split, listing in divided.listings.items()
    }
    lengths = splits["train"].lengths
    repeated = count_duplicates({split: samples.digests for split, samples in splits.items()})
    notes = [*found.notes, *divided.notes, *repeated, *describe_cuts(splits, preprocess)]
    transforms: dict[str, str] = dict.fromkeys(SPLITS, f"texts {PIPELINE}: {preprocess}")
    typical = None if lengths is None else math.ceil(lengths.double().mean())
    return Contents(
        splits,
        Facts(divided.classes, divided.counts, notes),
        Preparation(preprocess, transforms, typical=typical),
        Loading(options.batch_size, options.workers, 1, options.seed, divided.draws, options.timeout_s),
    )


def describe_cuts(splits: Mapping[str, TextSplit], preprocess: Writing) -> list[str]:
    """Return a note that counts the texts that were cut."""
    counts = [f"{split.cut} of {len(split)} texts of {name}" for name, split in splits.items() if split.cut]
    return [f"longer than {preprocess.room} and cut: {', '.join(counts)}"] if counts else []


class TextCSV(DataModule):
    """One's own texts in CSV, JSON lines or Parquet: one file with, optionally, a column of splits, or a folder.

    The folder holds a table for each split (train.csv, val.csv, test.csv). Splits that are not there are drawn from
    train, by class and ``split_seed``. Raises UserError for whatever cannot be read or lacks a text or label.
    """

    def __init__(
        self,
        file: str | None,
        root: str | None,
        text_column: str,
        label_column: str,
        split_column: str | None,
        symlinks: bool,
        val_fraction: float,
        test_fraction: float,
        **common: Any,
    ) -> None:
        options = TextOptions.read(common)
        reading = options.make_rules(text_column, label_column, split_column)
        if file is not None and root is None:
            found = read_file(file, reading)
        elif root is not None and file is None:
            found = read_root(root, symlinks, reading)
        else:
            raise UserError("data.file and data.root: set one of them, to a table or to a folder of tables.")
        super().__init__(*prepare("text_csv", found, {"val": val_fraction, "test": test_fraction}, options))


class HubText(DataModule):
    """A set of the datasets library: one of the hub, or a folder that it was saved in. Missing splits are drawn."""

    def __init__(
        self,
        path: str,
        subset: str | None,
        text_column: str,
        label_column: str,
        train_split: str | None,
        val_split: str | None,
        test_split: str | None,
        val_fraction: float,
        test_fraction: float,
        **common: Any,
    ) -> None:
        options = TextOptions.read(common)
        reading = options.make_rules(text_column, label_column)
        found = read_hub(path, subset, {"train": train_split, "val": val_split, "test": test_split}, reading)
        super().__init__(*prepare("hf_text", found, {"val": val_fraction, "test": test_fraction}, options))
