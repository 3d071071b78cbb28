"""The six small sets that benchmarks of frozen networks go over, as overrides of `frostline run`, and their flags."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

SETS = {
    "fashion": ["data=imagefolder", "data.root={data}/images/fashion", "data.size=96"],
    "digits": ["data=digits", "data.size=64"],
    "mnist5k": ["data=mnist5k", "data.size=64", "data.fraction=0.5"],
    "debian_sections": ["data=text_csv", "data.root={data}/text/debian_sections", "backbone=minilm", "epochs=4"],
    "vowels": ["data=audiofolder", "data.root={data}/speech/vowels", "data.seconds=2", "backbone=voice_encoder"],
    "languages": ["data=audiofolder", "data.root={data}/speech/languages", "backbone=voice_encoder"],
}
"""``{data}`` is the folder with images/fashion, text/debian_sections, speech/vowels and speech/languages. Texts are
trained for as long as is usual for networks of BERT's kind (2 to 4 epochs, Devlin et al. 2019)."""


def make_parser(
    about: str, steps: Sequence[str], page: str, sets: Mapping[str, object] = SETS
) -> argparse.ArgumentParser:
    """Return the flags of a benchmark that goes over sets in several steps, and writes a page of docs."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=steps)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("data", nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--page", action="store_true", help=f"write docs/{page} as well")
    parser.add_argument("--sets", type=lambda names: names.split(","), default=list(sets))
    return parser
