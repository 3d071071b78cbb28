"""Write a network that runs without Frostline, and check that its outputs there are those here."""

from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from frostline.data.inputs import Inputs, Preprocess, list_tensors, pad_batch, take_values
from frostline.data.reading import Item, Reader
from frostline.errors import UserError
from frostline.files.csv_tables import read_csv
from frostline.files.leftovers import private_folder, temporary_folder_beside
from frostline.serving.example import EXAMPLE, describe
from frostline.serving.formats import FORMATS
from frostline.serving.network import Network, make_refusal, silence_warnings
from frostline.serving.reading import make_reader
from frostline.serving.restored import Restored

TOLERANCE = 1e-4


def export(model: Restored, format: str, target: Path) -> float:
    """Write a network into the folder ``target``; return how far its outputs are from Frostline's, at most.

    It is written beside ``target``, loaded by its own example, compared on samples of the run, and only then put in
    place. Raises UserError for a target that is there already, a network that the format cannot do, and outputs that
    differ by more than ``TOLERANCE``.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--output: {target} is there already; remove it, or choose another folder.")
    try:
        with temporary_folder_beside(target) as folder:
            written, reader = FORMATS[format](model, folder), make_reader(model)
            describe(model, reader, {**written, "format": format}, folder)
            apart = compare(model, reader, folder)
            folder.chmod(0o755)
            folder.replace(target)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"--output: {target} cannot be written ({why}); choose another folder.") from error
    return apart


def compare(model: Restored, reader: Reader, folder: Path) -> float:
    """Return the largest difference of the exported network's outputs from Frostline's, on samples of the run.

    Raises UserError where they, or the inputs that the example makes of the samples, are not the same.
    """
    example = import_program(folder / EXAMPLE)
    with private_folder() as private, silence_warnings():
        items = find_samples(model, reader, private)
        batch = reader.read(items)
        assert batch.inputs is not None, batch.bad
        sound = [item.content for item in items if item.name in batch.names]
        inputs = to_arrays(batch.inputs, find_least_length(reader.preprocess))
        check("inputs", inputs, example.prepare(sound))
        try:
            found = example.load()(*inputs)
        except Exception as error:  # of another package, on what was written for it
            raise make_refusal(model, "the package that should load it", error) from error
        return check("outputs", compute_own_outputs(model, inputs), found)


def import_program(path: Path) -> ModuleType:
    """Return a program as a module."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_samples(model: Restored, reader: Reader, scratch: Path) -> list[Item]:
    """Return a few samples that the run was tested on, where they are still to be found, else made-up ones.

    ``scratch`` is a folder for those that are made up.
    """
    tested = (row["sample"] for row in read_csv(model.folder / "predictions.csv"))
    return reader.find_tested(tested) or reader.make_samples(scratch)


def find_least_length(preprocess: Preprocess) -> int:
    """Return how long sequences are at least outside: as long as all are, or 2, since tracers take 1 for a constant."""
    return 2 if preprocess.any_length else take_values(preprocess.example(1, preprocess.size)).shape[1]


def to_arrays(inputs: Inputs, least: int) -> list[NDArray[Any]]:
    """Return a batch as a network outside takes it, sequences padded to ``least`` positions or more."""
    return [tensor.numpy() for tensor in list_tensors(pad_batch(inputs, least))]


@torch.no_grad()
def compute_own_outputs(model: Restored, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return Frostline's own outputs, in single precision."""
    found = Network(model)(*map(torch.from_numpy, inputs))
    return [tensor.numpy() for tensor in (found if isinstance(found, tuple) else (found,))]


def check(what: str, own: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> float:
    """Return the largest difference. Raises UserError where it is above ``TOLERANCE``, absolutely and relatively.

    Of inputs the mean difference counts, since logarithms of near silence differ from one program to another.
    """
    measure = np.mean if what == "inputs" else np.max
    apart = 0.0
    for one, other in zip((each.astype(np.float64) for each in own), found, strict=True):
        each = np.abs(one - other) if one.shape == other.shape else np.array([np.inf])
        if not measure(each) <= TOLERANCE * max(1.0, float(measure(np.abs(one)))):
            raise UserError(
                f"--format: the {what} of the exported network are not those of Frostline (up to {each.max():.2g} "
                "apart), so nothing was written; choose another format."
            )
        apart = max(apart, float(each.max()))
    return apart
