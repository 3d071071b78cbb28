"""Text drawn as a picture, as a person would read it, for image networks."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from frostline.data.inputs import make_generator
from frostline.data.reading import Recipe, RunData
from frostline.data.text.reading import TextReader

SPACING = 1.2
"""From one line to the next, in sizes of the font."""


@dataclass(frozen=True)
class Rendered:
    """Texts as uint8 pictures [3, S, S], dark on light, in Pillow's own font, so that they look alike on any machine.

    ``size`` is S in pixels, ``font`` the letters' size in pixels. Words are wrapped at the right edge; what does not
    fit on the picture is cut off below. After Super Characters (Sun et al. 2018, arXiv 1810.07653) and PIXEL (Rust et
    al. 2022, arXiv 2207.06991).
    """

    modality: ClassVar[str] = "text"
    any_length: ClassVar[bool] = False

    size: int
    font: int

    @property
    def normalisation(self) -> str:
        return "black on white"

    @property
    def lines(self) -> int:
        """How many lines a picture has."""
        return max(1, int(self.size / (SPACING * self.font)))

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the pictures [N, 3, S, S] of texts."""
        font = ImageFont.load_default(self.font)
        measure = cache(font.getlength)  # words come again, and to measure one takes as long as to draw it
        return torch.stack([self._draw(text, font, measure) for text in texts])

    @property
    def room(self) -> str:
        return "their pictures have room for"

    def count_cut(self, texts: Sequence[str], made: list[Tensor] | Tensor) -> int:
        """Return how many texts do not fit on their pictures."""
        measure = cache(ImageFont.load_default(self.font).getlength)
        return sum(len(list(wrap_words(text, measure, self.size))) > self.lines for text in texts)

    def _draw(
        self, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, measure: Callable[[str], float]
    ) -> Tensor:
        picture = Image.new("L", (self.size, self.size), 255)
        pen = ImageDraw.Draw(picture)
        for place, line in zip(range(self.lines), wrap_words(text, measure, self.size), strict=False):
            pen.text((0, round(place * SPACING * self.font)), line, fill=0, font=font)
        return torch.from_numpy(np.array(picture)).expand(3, -1, -1)

    def reader(self, run: RunData) -> TextReader:
        return TextReader(self, run)

    def describe(self, folder: Path) -> Recipe:
        source = inspect.getsource(wrap_words).replace(
            ": str, measure: Callable[[str], float], width: int)", ", measure, width)"
        )
        return Recipe(
            {**asdict(self), "lines": self.lines, "spacing": SPACING},
            "data/text/templates/rendered.j2",
            imports=("from PIL import Image, ImageDraw, ImageFont",),
            source=source.replace(" -> Iterator[str]:", ":").rstrip(),
        )

    def example(self, count: int, size: int) -> Tensor:
        """Return random uint8 pictures [count, 3, size, size]."""
        return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=make_generator())


def wrap_words(text: str, measure: Callable[[str], float], width: int) -> Iterator[str]:
    """Yield the lines of a text that is ``width`` pixels wide; a word that is longer than a line is divided."""
    space = measure(" ")
    line, used = "", 0.0
    for word in text.split():
        length = measure(word)
        if line and used + space + length > width:
            yield line
            line, used = "", 0.0
        while length > width:
            end = max(1, sum(measure(word[: place + 1]) <= width for place in range(len(word))))
            yield word[:end]
            word = word[end:]
            length = measure(word)
        line, used = (f"{line} {word}", used + space + length) if line else (word, length)
    if line:
        yield line
