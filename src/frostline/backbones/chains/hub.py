"""Networks of the transformers library, from its hub or a folder: found, loaded strictly, and nothing in them run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.chain import Chain
from frostline.backbones.chains.folder import CONFIG, INDEX, KEY, check_folder, read_index, read_object, read_weights
from frostline.backbones.weights.loading import check_finite
from frostline.data.inputs import Preprocess, digest
from frostline.errors import UserError, make_choice_error, read_first_line
from frostline.units import join_names

POOLER = "pooler"
# What of a config says nothing of what the network computes.
BESIDE = ("_name_or_path", "transformers_version", "architectures", "dtype", "_attn_implementation")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode and its config, from a folder or by the hub's ``name``, with notes on its weights."""

    model: Any
    config: Any
    name: str
    notes: list[str]


def make_sequence_backbone(
    loaded: LoadedNetwork, chain: Chain, preprocess: Preprocess, pooling: str, label: str | None = None
) -> SequenceBackbone:
    """Return the backbone of a network as a ``chain``, called ``label``, or else as its folder, or as on the hub."""
    folder = Path(loaded.name).expanduser()
    return SequenceBackbone(
        chain,
        label or (folder.name if folder.is_dir() else loaded.name),
        preprocess,
        pooling,
        architecture=describe_architecture(loaded.model, loaded.config),
        notes=loaded.notes,
    )


def import_transformers(extra: str) -> Any:
    """Return transformers, silenced. Raises UserError where it is not installed, naming the extra that brings it."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise UserError(f"backbone needs the package transformers; run: pip install 'frostline[{extra}]'.") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def find_folder(name: str) -> Path | None:
    """Return the folder in which a network lies, looked through; None for one on the hub.

    Raises UserError for a folder that is not there, or holds what is not to be used (`folder.check_folder`).
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return folder
    if name.startswith(("/", ".", "~")):
        raise UserError(f"{KEY}: there is no folder {name}; give a folder that transformers saved, or a hub name.")
    return None


def find_source(name: str) -> tuple[str, dict[str, bool]]:
    """Return where transformers finds what comes with a network, and how: none of its code, of a folder nothing else.

    Raises UserError as `folder_of`.
    """
    folder = find_folder(name)
    return str(folder or name), {"trust_remote_code": False, "local_files_only": folder is not None}


def read_network_config(name: str, extra: str) -> Any:
    """Return the network's config. Raises UserError where there is none, or one that needs code of its own."""
    transformers, folder = import_transformers(extra), find_folder(name)
    with explain_errors(name):
        if folder is None:
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        else:
            found = read_object(folder / CONFIG)
            config = transformers.CONFIG_MAPPING[found.pop("model_type", None)].from_dict(found)
            config._name_or_path = str(folder)
    if getattr(config, "auto_map", None):
        raise UserError(f"{KEY}: {name} names code of its own (auto_map), and none is run; choose another network.")
    return config


def load_network(name: str, config: Any, weights: str | None, extra: str) -> LoadedNetwork:
    """Return a network in float32 with its pretrained weights, or (``weights`` None) random ones, and notes.

    Its attention is PyTorch's own where the network can use it, for speed, and never what a config names: that may be
    code of the hub's. What a folder holds is read here, so that transformers opens nothing and fetches nothing. Raises
    UserError for weights that are missing, unexpected, of another shape, or no numbers; those of task heads are left
    out, with a note.
    """
    if weights not in (None, "pretrained"):
        raise make_choice_error("backbone.weights", weights, ("pretrained", "none"))
    transformers, folder = import_transformers(extra), find_folder(name)
    model_class = find_class(transformers, config)
    how = {"attn_implementation": choose_attention(model_class), "dtype": torch.float32}
    with explain_errors(name):
        if weights is None:
            model = transformers.AutoModel.from_config(config, trust_remote_code=False, **how)
            return LoadedNetwork(_keep_encoder(model), config, name, [])
        how |= {"ignore_mismatched_sizes": True, "output_loading_info": True}  # reported, and refused below by name
        if folder is not None:
            model, report = model_class.from_pretrained(None, config=config, state_dict=read_weights(folder), **how)
        else:
            _check_index(transformers, name)
            model, report = model_class.from_pretrained(name, config=config, use_safetensors=True, **how)
    model.config._name_or_path = str(folder or name)
    notes = _check_report(name, model, report)
    check_finite(model.state_dict(), {buffer for buffer, _ in model.named_buffers()}, f"{KEY}: the weights of {name}")
    return LoadedNetwork(_keep_encoder(model), config, name, notes)


def _check_index(transformers: Any, name: str) -> None:
    """Refuse a network on the hub whose index of weights names anything but safetensors. Raises UserError."""
    index = transformers.utils.cached_file(name, INDEX, _raise_exceptions_for_missing_entries=False)
    if index is not None:
        read_index(Path(index))


def find_class(transformers: Any, config: Any) -> Any:
    """Return the class of a network. Raises UserError for what is no network that AutoModel makes."""
    known = transformers.MODEL_MAPPING.get(type(config), None)
    if known is None:
        raise UserError(f"{KEY}: {config.model_type} is no network that AutoModel makes; choose an encoder.")
    several = known if isinstance(known, tuple | list) else (known,)
    named = [one for one in several if one.__name__ in (getattr(config, "architectures", None) or ())]
    return (named or list(several))[0]


def choose_attention(model_class: Any) -> str:
    """Return how a network's attention is computed."""
    return "sdpa" if model_class._supports_sdpa else "eager"


@contextmanager
def explain_errors(name: str, missing: str = "") -> Iterator[None]:
    """Turn whatever transformers, or a library below it, raises on the files of a network into a UserError.

    ``missing`` is what is needed of it, where that is not the network itself.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # which Rust raises
            raise
        if missing:
            raise UserError(f"{KEY}: {name} has no {missing} that can be read ({read_first_line(error)}).") from error
        raise UserError(
            f"{KEY}: {name} cannot be loaded ({read_first_line(error)}); give a hub name, or a folder with safetensors."
        ) from error


def describe_architecture(model: nn.Module, config: Any) -> str:
    """Return text that stands for what a network computes, beyond its weights."""
    matters = {key: value for key, value in config.to_dict().items() if key not in BESIDE}
    return f"transformers.{type(model).__name__} {digest(sorted(matters.items(), key=lambda item: item[0]))}"


def _keep_encoder(model: Any) -> nn.Module:
    """Return the encoder alone, in eval mode: no decoder, no pooler made for another task, nothing kept for one."""
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    model.config.use_cache = False
    if getattr(model, POOLER, None) is not None:
        model.pooler = None
    return model.eval()


def _check_report(name: str, model: Any, report: Mapping[str, Any]) -> list[str]:
    """Refuse weights that are not this network's; return a note of what was left out."""
    own = {child for child, _ in model.named_children()} - {POOLER}
    buffers = {buffer for buffer, _ in model.named_buffers()}  # old files hold some that are made anew today
    prefix = f"{model.base_model_prefix}."
    extra = sorted(key for key in report["unexpected_keys"] if key.removeprefix(prefix) not in buffers)
    unexpected = [key for key in extra if key.removeprefix(prefix).partition(".")[0] in own]
    missing = sorted(key for key in report["missing_keys"] if key.partition(".")[0] != POOLER)
    shapes = [f"{key} {list(given)} instead of {list(wanted)}" for key, given, wanted in report["mismatched_keys"]]
    if missing or unexpected or shapes:
        found = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
        misfit = "; ".join(f"{what}: {join_names(names)}" for what, names in found.items())
        raise UserError(f"{KEY}: the weights of {name} are not those of its config ({misfit}); get them again.")
    return [f"left out what the encoder does not have: {join_names(extra)}"] if extra else []
