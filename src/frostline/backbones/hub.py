"""Networks of the transformers library, from its hub or a folder: found, loaded strictly, and nothing in them run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from frostline.data.inputs import digest
from frostline.errors import UserError, choices

KEY = "backbone.name"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
POOLER = "pooler"
SHOWN = 5
# What of a config says nothing of what the network computes.
BESIDE = ("_name_or_path", "transformers_version", "architectures", "dtype", "_attn_implementation")
REFUSALS = (OSError, ValueError, ImportError, RuntimeError, KeyError, SafetensorError)


def library(extra: str) -> Any:
    """Return transformers, silenced. Raises UserError where it is not installed, naming the extra that brings it."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise UserError(f"backbone needs the package transformers; run: pip install 'frostline[{extra}]'.") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def source(name: str) -> str:
    """Return where a network lies: the folder, or else its name on the hub.

    Raises UserError for a folder that is not there, or holds weights only in a form that can run code.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith(("/", ".", "~")):
            raise UserError(f"{KEY}: there is no folder {name}; give a folder that transformers saved, or a hub name.")
        return name
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles and not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{KEY}: {name} holds its weights as {', '.join(pickles)}, which can run code when it is read; save them "
            f"as model.safetensors."
        )
    return str(folder)


def settings(name: str, extra: str) -> Any:
    """Return the network's config. Raises UserError where there is none, or one that needs code of its own."""
    found = source(name)
    try:
        return library(extra).AutoConfig.from_pretrained(found, trust_remote_code=False)
    except REFUSALS as error:
        raise refused(name, error) from error


def load(name: str, config: Any, weights: str | None, extra: str) -> tuple[nn.Module, list[str]]:
    """Return a network in float32 with its pretrained weights, or (``weights`` None) random ones, and notes.

    Its attention is PyTorch's own where the network can use it, for speed, and never what a config names: that may be
    code of the hub's. Raises UserError for weights that are missing, unexpected or of another shape; those of task
    heads are left out, with a note.
    """
    if weights not in (None, "pretrained"):
        raise choices("backbone.weights", weights, ("pretrained", "none"))
    transformers = library(extra)
    how = {"attn_implementation": attention(transformers, config), "dtype": torch.float32, "trust_remote_code": False}
    try:
        if weights is None:
            return _plain(transformers.AutoModel.from_config(config, **how)), []
        model, report = transformers.AutoModel.from_pretrained(
            source(name),
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported, and refused below with their names
            output_loading_info=True,
            **how,
        )
    except REFUSALS as error:
        raise refused(name, error) from error
    return _plain(model), _checked(name, model, report)


def attention(transformers: Any, config: Any) -> str:
    """Return how a network's attention is computed."""
    known = transformers.MODEL_MAPPING.get(type(config), None)
    if known is None:
        raise UserError(f"{KEY}: {config.model_type} is no network that AutoModel makes; choose an encoder.")
    model = known[0] if isinstance(known, tuple) else known
    return "sdpa" if model._supports_sdpa else "eager"


def refused(name: str, error: Exception) -> UserError:
    """Return what to say of a network that the library could not load."""
    return UserError(
        f"{KEY}: {name} cannot be loaded ({first_line(error)}); give a hub name, or a folder with safetensors."
    )


def first_line(error: Exception) -> str:
    """Return what an error of another library says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".:")


def identity(model: nn.Module, config: Any) -> str:
    """Return text that stands for what a network computes, beyond its weights."""
    matters = {key: value for key, value in config.to_dict().items() if key not in BESIDE}
    return f"transformers.{type(model).__name__} {digest(sorted(matters.items(), key=lambda item: item[0]))}"


def _plain(model: Any) -> nn.Module:
    """Return the encoder alone, in eval mode: no decoder, no pooler made for another task, nothing kept for one."""
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    model.config.use_cache = False
    if getattr(model, POOLER, None) is not None:
        model.pooler = None
    return model.eval()


def _checked(name: str, model: Any, report: Mapping[str, Any]) -> list[str]:
    """Refuse weights that are not this network's; return a note of what was left out."""
    own = {child for child, _ in model.named_children()} - {POOLER}
    buffers = {buffer for buffer, _ in model.named_buffers()}  # old files hold some that are made anew today
    prefix = f"{model.base_model_prefix}."
    extra = sorted(key for key in report["unexpected_keys"] if key.removeprefix(prefix) not in buffers)
    unexpected = [key for key in extra if key.removeprefix(prefix).partition(".")[0] in own]
    missing = sorted(key for key in report["missing_keys"] if key.partition(".")[0] != POOLER)
    shapes = [f"{key} {list(given)} instead of {list(wanted)}" for key, given, wanted in report["mismatched_keys"]]
    if missing or unexpected or shapes:
        misfit = f"missing: {_listed(missing)}; unexpected: {_listed(unexpected)}; of another shape: {_listed(shapes)}"
        raise UserError(f"{KEY}: the weights of {name} are not those of its config ({misfit}); get them again.")
    return [f"left out what the encoder does not have: {_listed(extra)}"] if extra else []


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more
