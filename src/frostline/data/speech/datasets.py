"""Speech data sets: folders and tables of recordings, made ready for a backbone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from frostline.data.base import Contents, DataModule, Facts, Loading, Preparation, Split
from frostline.data.divide import count_duplicates, divide
from frostline.data.folders import RECORDINGS, Columns, read_folder, read_manifest
from frostline.data.image.augment import describe
from frostline.data.index import DataIndex, ask_each, read_digests
from frostline.data.inputs import check_modality
from frostline.data.listing import Found, Listing, leave_out
from frostline.data.options import Options
from frostline.data.speech.augment import Sound
from frostline.data.speech.hearing import Hearing
from frostline.data.speech.recordings import Known, Recordings
from frostline.data.speech.sound import Extent, SoundShape, describe_losses, find_problem, read_shape
from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.ranges import Count, Range

PIPELINE = 1
"""Raised by hand when the way from a file to a wave changes, so that no old cache entry is taken for a new one."""


@dataclass(frozen=True, kw_only=True)
class AudioOptions(Options):
    """The keys that all speech data sets share; ``preprocess`` and ``augment`` come from the rest of a run.

    ``seconds`` is for the builder of the backbone, whose ``preprocess`` holds it. Raises UserError naming the key
    whose value is out of range.
    """

    preprocess: Hearing
    augment: Any
    seconds: float
    min_seconds: Annotated[float, Range(ge=0)]
    views: Count | None
    symlinks: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.min_seconds < self.seconds <= 600:
            raise UserError(
                f"data.seconds: {self.seconds} is invalid: expected a number above "
                f"data.min_seconds={self.min_seconds:g} and at most 600."
            )
        if self.augment is not None and not isinstance(self.augment, Sound):
            raise UserError(
                f"augment: {type(self.augment).__name__} is for images; with speech it is none, speech_light, "
                "specaugment, or a class derived from frostline.data.speech.augment.Sound."
            )
        if self.augment is not None and self.augment.masks and not self.takes_frames:
            raise UserError(
                f"augment: {type(self.augment).__name__} masks frames, and the backbone takes waves; choose "
                "augment=speech_light."
            )

    @property
    def takes_frames(self) -> bool:
        """Whether the backbone takes frames [B, T, bands]."""
        return self.preprocess.example(1, self.preprocess.size).values.ndim == 3

    @property
    def extent(self) -> Extent:
        """How much of a recording is kept; a transcript is of the whole."""
        return Extent(self.preprocess.rate, self.preprocess.size, self.min_seconds, whole=self.task.is_sequence)


def read_options(values: Mapping[str, Any], where: str) -> AudioOptions:
    """Return the shared keys as options; raises UserError for a key that is not one, or a backbone for other data."""
    check_modality(values["preprocess"], "speech", where)
    return AudioOptions.read(values)


def drop_bad(found: Found, options: AudioOptions) -> tuple[Found, list[str]]:
    """Refuse or, with ``data.on_bad=skip``, leave out the recordings that cannot be used; return a note.

    Only skipping decodes here: what is left decides labels and fingerprint. Else headers are read, and what shows only
    in decoding is found by ``check``, before training, by a run that needs the sound.
    """
    skip, extent = options.on_bad == "skip", options.extent
    question = f"speech {PIPELINE}: {'decoded' if skip else 'header'} {extent}"

    def reasons(listing: Listing) -> list[str | None]:
        found = ask_each(
            options.index, question, list(listing.content), lambda path: find_problem(path, extent, decode=skip)
        )
        if not options.task.is_sequence:
            return found
        sound = [path for path, reason in zip(listing.content, found, strict=True) if reason is None]
        lasts = {path: shape.seconds for path, shape in zip(sound, read_shapes(sound, options.index), strict=True)}
        samples = zip(listing.content, listing.labels, found, strict=True)
        return [reason or explain_too_short(lasts[path], label, options) for path, label, reason in samples]

    return leave_out(found, reasons, "recordings", skip)


def read_shapes(paths: Sequence[str], index: DataIndex) -> list[SoundShape]:
    """Return what each recording holds, by its header."""
    return [SoundShape(*one) for one in ask_each(index, f"speech {PIPELINE}: shape", paths, read_shape)]


def explain_too_short(lasts: float, transcript: str, options: AudioOptions) -> str | None:
    """Return why a transcript does not fit into the steps that the network makes of so many seconds, or None."""
    needed = options.task.steps(transcript)
    made = int(options.preprocess.steps(torch.tensor(round(lasts * options.extent.rate))))
    return f"has a transcript that takes {needed} steps, and the backbone makes {made} of it" if needed > made else None


def note_losses(shapes: Sequence[SoundShape], options: AudioOptions) -> list[str]:
    """Return notes that count the recordings of which something is lost: their end, a channel, their high tones."""
    lost = Counter(what for shape in shapes for what in describe_losses(shape, options.extent))
    return [f"{count} of {len(shapes)} recordings {what}" for what, count in lost.items()]


def describe_transforms(options: AudioOptions) -> dict[str, str]:
    """Return the text that stands for all that is done to the recordings, by split."""
    plain = f"speech {PIPELINE}: {options.preprocess}"
    augmented = f"{plain} augment={describe(options.augment)} seed={options.seed}"
    return dict.fromkeys(SPLITS, plain) | ({"train": augmented} if options.augment is not None else {})


def prepare(found: Found, fractions: Mapping[str, float], options: AudioOptions) -> Contents:
    """Return what a DataModule is made of: bad files dropped, missing splits drawn, all of it checked and digested."""
    found, bad = drop_bad(found, options)
    divided = divide(found, fractions, options, files=True)
    contents = {name: read_digests(options.index, list(listing.content)) for name, listing in divided.listings.items()}
    shapes = {name: read_shapes(list(listing.content), options.index) for name, listing in divided.listings.items()}
    splits: dict[str, Split] = {}
    for name, listing in divided.listings.items():
        augment = options.augment if name == "train" else None
        splits[name] = Recordings(
            listing,
            divided.labels[name],
            Known(contents[name], [shape.seconds for shape in shapes[name]]),
            options.preprocess,
            options.extent,
            augment,
            options.seed,
            options.memory_gb,
        )
    views = 1 if options.augment is None else options.views
    lost = note_losses([shape for each in shapes.values() for shape in each], options)
    notes = [*found.notes, *bad, *divided.notes, *count_duplicates(contents), *lost]
    return Contents(
        splits,
        Facts(divided.classes, divided.counts, notes),
        Preparation(options.preprocess, describe_transforms(options)),
        Loading(options.batch_size, options.workers, views, options.seed, divided.draws, options.timeout_s),
    )


class AudioFolder(DataModule):
    """One's own recordings, in folders as images are, or named by a table: a path, a label and, optionally, a split.

    Splits that are not there are drawn from train, by class and ``split_seed``.
    """

    def __init__(
        self,
        root: str | None,
        manifest: str | None,
        path_column: str,
        label_column: str,
        split_column: str | None,
        val_fraction: float,
        test_fraction: float,
        **common: Any,
    ) -> None:
        options = read_options(common, "data=audiofolder")
        if manifest is None:
            found = read_folder(root, options.symlinks, RECORDINGS)
        else:
            columns = Columns(path_column, label_column, split_column)
            blank, skip = options.task.blank, options.on_bad == "skip"
            found = read_manifest(manifest, root, columns, options.symlinks, blank, RECORDINGS, skip)
        super().__init__(*prepare(found, {"val": val_fraction, "test": test_fraction}, options))
