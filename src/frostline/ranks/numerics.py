"""How a run computes: what of it is set for a whole process, and what results are kept under because of it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytorch_lightning as pl
import torch

from frostline.config.accelerators import WORKSPACE
from frostline.errors import make_choice_error

MATMUL_PRECISIONS = ("highest", "high", "medium")

SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (lambda: torch.backends.cudnn.allow_tf32, lambda value: setattr(torch.backends.cudnn, "allow_tf32", value)),
    (lambda: torch.backends.cudnn.benchmark, lambda value: setattr(torch.backends.cudnn, "benchmark", value)),
    (lambda: torch.backends.cudnn.deterministic, lambda value: setattr(torch.backends.cudnn, "deterministic", value)),
)
"""What `set_numerics` sets, as pairs of a getter and a setter."""


def set_numerics(trainer: Mapping[str, Any]) -> None:
    """Set how this process computes, all of it, as a run's config has it: nothing is left of what was set before.

    ``highest`` keeps convolutions from TF32 too, which torch lets them use by itself. That is said by torch's older
    names: once the newer ones (``fp32_precision``) are used, reading an older one raises, and torch itself does that.
    """
    precision = trainer.get("matmul_precision", "highest")
    deterministic = trainer.get("deterministic") or False
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    torch.backends.cudnn.benchmark = bool(trainer.get("benchmark"))
    torch.backends.cudnn.deterministic = False  # `use_deterministic_algorithms` makes it so by itself
    torch.use_deterministic_algorithms(bool(deterministic), warn_only=deterministic == "warn")
    for name, value in WORKSPACE.items():
        os.environ.setdefault(name, value)


@contextmanager
def restore_numerics() -> Iterator[None]:
    """Put back at the end how this process computes."""
    before = [(setter, getter()) for getter, setter in SETTINGS]
    try:
        yield
    finally:
        for setter, value in before:
            setter(value)


def make_autocast(node: Mapping[str, Any], trainer: pl.Trainer) -> Callable[[], AbstractContextManager]:
    """Return what a forward pass of the run of this ``trainer`` is done in, in a process that does others as well.

    Raises UserError for a ``matmul_precision`` that there is not, as a stranger's record may have.
    """
    if (precision := node.get("matmul_precision", "highest")) not in MATMUL_PRECISIONS:
        raise make_choice_error("trainer.matmul_precision", precision, MATMUL_PRECISIONS)

    @contextmanager
    def context() -> Iterator[None]:
        with restore_numerics():
            set_numerics(node)
            with trainer.strategy.precision_plugin.forward_context():
                yield

    return context


def read_device_name(device: torch.device) -> str:
    """Return the name of a GPU, empty for one that is not here, and for what is no GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" and torch.cuda.is_available() else ""


def describe_numerics(node: Mapping[str, Any], device_names: str) -> str:
    """Return in which precision, and with which settings and GPUs, activations are computed: a part of their key.

    What is as by default on a processor goes without saying.
    """
    precision = node.get("matmul_precision", "highest")
    said = [
        node["precision"],
        "" if precision == "highest" else precision,
        f"deterministic={node['deterministic']}" if node.get("deterministic") else "",
        "benchmark" if node.get("benchmark") else "",
        device_names,
    ]
    return " ".join(filter(None, said))
