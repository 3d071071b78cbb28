"""Published sets of speech, with their official splits."""

import os
import tarfile
from pathlib import Path
from typing import Any

import torch

from frostline.data.archives import check_archive
from frostline.data.base import DataModule
from frostline.data.folders import RECORDINGS, Folder
from frostline.data.listing import Found, Listing
from frostline.data.speech.datasets import prepare, read_options
from frostline.errors import UserError
from frostline.files.leftovers import temporary_folder_beside

ADDRESS = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
PLACE = "SpeechCommands/speech_commands_v0.02"  # below data.root, as torchaudio has it
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
NOISE = "_background_noise_"


def fetch(folder: Path) -> None:
    """Fetch, check and extract beside ``folder``, then move it into place: a kill leaves no half of it.

    Raises UserError where the archive cannot be had, or is not the one whose SHA-256 is known.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder_beside(folder) as beside:
        archive = beside / "archive.tar.gz"
        try:
            torch.hub.download_url_to_file(ADDRESS, str(archive), hash_prefix=SHA256, progress=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: of another sum
            raise UserError(
                f"data.download: Speech Commands could not be downloaded from {ADDRESS} ({error}); fetch it on another "
                f"machine and set data.root to the folder that holds {PLACE}."
            ) from error
        check_archive(archive)
        made = beside / "made"
        with tarfile.open(archive) as opened:
            opened.extractall(made, filter="data")
        os.replace(made, folder)


def find(folder: Path) -> Found:
    """Return the recordings by their official lists: train is what stands in neither."""
    tree = Folder("data.root", str(folder), symlinks=False, kind=RECORDINGS)
    listed = {
        line: split for split, file in LISTS.items() for line in (folder / file).read_text(encoding="utf-8").split()
    }
    splits: dict[str, list[tuple[str, str, str]]] = {split: [] for split in ("train", *LISTS)}
    words = [(word, path) for word, path, inside in tree.entries(tree.real) if inside and word != NOISE]
    for word, path in words:
        for name, file in tree.files(path, word):
            splits[listed.get(name, "train")].append((name, word, file))
    listings = {split: Listing.of(samples) for split, samples in splits.items()}
    return Found(f"data.root: {folder}", listings, [word for word, _ in words])


class SpeechCommands(DataModule):
    """35 spoken words, each in a recording of a second (Warden 2018, arXiv:1804.03209).

    Raises UserError where the data is neither there nor downloaded.
    """

    def __init__(self, root: str, download: bool, **common: Any) -> None:
        options = read_options(common, "data=speechcommands")
        folder = Path(root).expanduser() / PLACE
        if not all((folder / file).is_file() for file in LISTS.values()):
            if not download or folder.exists():
                raise UserError(
                    f"data.root: {root} holds no whole {PLACE}; remove what is there and set data.download=true."
                )
            fetch(folder)
        super().__init__(*prepare(find(folder), {}, options))
