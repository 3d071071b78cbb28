"""The three splits of a data set, and the names that people give them."""

SPLITS = ("train", "val", "test")

USUAL = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development", "eval"),
    "test": ("test", "testing", "tst"),
}
"""What folders, columns and published sets call the splits, in small letters."""

_BY_NAME = {name: split for split, names in USUAL.items() for name in names}


def split_called(name: str) -> str | None:
    """Return the split that people mean by ``name``, in any case ("Training" is train), or None."""
    return _BY_NAME.get(name.strip().lower())
