"""One split's recordings: decoded once into memory where they fit and batch by batch where they do not."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from frostline.data.base import describe_unusable
from frostline.data.folders import RECORDINGS, Folder
from frostline.data.image.pixels import encode_png
from frostline.data.inputs import Ragged
from frostline.data.listing import Listing
from frostline.data.loading import Oddity
from frostline.data.speech.augment import Sound, augment_sequences
from frostline.data.speech.hearing import Hearing, pad_waves
from frostline.data.speech.mel import Mel
from frostline.data.speech.sound import FORMATS, Extent, Unusable, find_problem, read_wave
from frostline.data.threads import run_in_threads
from frostline.errors import UserError
from frostline.files.atomic import sha256_json

SEEN = 80  # bands of the picture that stands for a recording
AT_ONCE = 64  # recordings that are made into frames together


class Known(NamedTuple):
    """What is known of recordings before they are decoded: the SHA-256 of each file, and how long it lasts."""

    digests: Sequence[str]
    seconds: Sequence[float]


class Recordings:
    """A split of a speech data set, all padded to one length; ``augment`` is None but for train."""

    lengths: Tensor | None = None  # batches need no sorting

    def __init__(
        self,
        listing: Listing,
        labels: Tensor,
        known: Known,
        preprocess: Hearing,
        extent: Extent,
        augment: Sound | None,
        seed: int,
        memory_gb: float,
    ) -> None:
        self.names, self.labels = listing.names, labels
        self.fingerprint = sha256_json([*zip(self.names, labels.tolist(), known.digests, strict=True)])
        self._known = known
        self._paths = [str(path) for path in listing.content]
        self._preprocess, self._extent, self._augment, self._seed = preprocess, extent, augment, seed
        self._small = len(listing) * self._bytes() <= memory_gb * 2**30
        self._waves: Ragged | None = None  # kept where they are augmented
        self._made: Ragged | None = None  # kept where they are not
        self._problems: list[str] | None = None

    def _bytes(self) -> int:
        """Return what one recording takes in memory, at most."""
        return max(4 * self._extent.size, self._preprocess.example(1, self._extent.size).values.nbytes)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digests(self) -> Sequence[str]:
        """The SHA-256 of each file's content."""
        return self._known.digests

    def measure(self) -> dict[str, Sequence[float]]:
        """Return how long the recordings last: by their headers, not as they are cut."""
        return {"seconds": self._known.seconds}

    def find_oddities(self, indices: Tensor) -> list[Oddity | None]:
        """Return what is odd about these recordings: they cannot be decoded, or are silent, with which none is used."""
        paths = [self._paths[index] for index in indices.tolist()]
        reasons = run_in_threads(lambda path: find_problem(path, self._extent, decode=True), paths)
        return [None if reason is None else Oddity(True, reason) for reason in reasons]

    @property
    def costly(self) -> bool:
        """Whether a batch is more than rows of a tensor in memory."""
        return self._augment is not None or not self._small

    def check(self) -> list[str]:
        """Decode all recordings, once; keep them where they fit. Return one line for each that cannot be used."""
        if self._problems is None:
            found = run_in_threads(self._attempt, self._paths)
            self._problems = [
                f"{name} {reason}" for name, reason in zip(self.names, found, strict=True) if isinstance(reason, str)
            ]
            if self._small and not self._problems:
                self._keep([wave for wave in found if isinstance(wave, Tensor)])
        return self._problems

    def _attempt(self, path: str) -> Tensor | str | None:
        """Return a wave [n], where waves are kept; text where there is something wrong with it."""
        try:
            wave = read_wave(path, self._extent)
        except Unusable as error:
            return str(error)
        return torch.from_numpy(wave) if self._small else None

    def _keep(self, waves: list[Tensor]) -> None:
        if self._augment is not None:
            self._waves = pad_waves(waves, self._extent.size)
            return
        starts = range(0, len(waves), AT_ONCE)
        size = self._extent.size
        made = [self._preprocess.encode(pad_waves(waves[start : start + AT_ONCE], size)) for start in starts]
        self._made = Ragged(*map(torch.cat, zip(*made, strict=True)))

    def _read_waves(self, indices: Tensor) -> Ragged:
        """Return the waves of these recordings, decoded now where they are not kept.

        Raises UserError naming a file that cannot be used, or no longer.
        """
        if self._waves is not None:
            return self._waves.take(indices)
        waves = []
        for index in indices.tolist():
            try:
                waves.append(torch.from_numpy(read_wave(self._paths[index], self._extent)))
            except Unusable as error:
                raise UserError(f"{self._paths[index]} {error}; it cannot be used.") from error
        return pad_waves(waves, self._extent.size)

    def inputs(self, indices: Tensor, view: int) -> Ragged:
        """Return what the backbone takes, or this view of it where train is augmented.

        Raises UserError naming the recordings of the split that cannot be used.
        """
        if problems := self.check():
            raise UserError(describe_unusable(problems))
        if self._augment is None:
            return self.peek(indices)
        waves = augment_sequences(self._augment.wave, self._read_waves(indices), indices, self._seed, view, "wave")
        made = self._preprocess.encode(waves)
        if not self._augment.masks:
            return made
        return augment_sequences(self._augment.frames, made, indices, self._seed, view, "frames")

    def peek(self, indices: Tensor) -> Ragged:
        """Return what the backbone takes of a few recordings as they are, decoding no others.

        Raises UserError naming a recording that cannot be used.
        """
        return self._preprocess.encode(self._read_waves(indices)) if self._made is None else self._made.take(indices)

    def preview(self, index: int) -> bytes:
        """Return the spectrogram of one recording, low tones at the bottom, as a PNG."""
        wave = self._read_waves(torch.tensor([index]))
        frames = Mel(self._extent.size, self._extent.rate, bands=SEEN).encode(wave)
        logs = frames.values[0, : int(frames.lengths[0])].T.flip(0)
        shown = ((logs - logs.amin()) / (logs.amax() - logs.amin()) * 255).byte()
        return encode_png(shown.expand(3, -1, -1))


def read_some(key: str, root: str, preprocess: Hearing, most: int) -> Ragged:
    """Return at most ``most`` recordings of a folder, evenly spaced by name, as a backbone takes them.

    Raises UserError, naming ``key``, where there is no recording, or one that cannot be used.
    """
    folder = Folder(key, root, symlinks=False, kind=RECORDINGS)
    paths = [path for _, path in folder.list_files(folder.real, folder.real)]
    if not paths:
        raise UserError(f"{key}: there is no recording in {root}; name a folder of {FORMATS} files.")
    waves = []
    for place in torch.linspace(0, len(paths) - 1, min(most, len(paths))).round().int().tolist():
        try:
            waves.append(torch.from_numpy(read_wave(paths[place], Extent(preprocess.rate, preprocess.size, 0.0))))
        except Unusable as error:
            raise UserError(f"{key}: {paths[place]} {error}; remove it, or name another folder.") from error
    return preprocess.encode(pad_waves(waves, preprocess.size))
