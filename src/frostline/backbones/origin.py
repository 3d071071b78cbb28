"""Where a network comes from: how another package makes the same one again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frostline.backbones.base import Backbone
from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.hub import load_network, read_network_config
from frostline.backbones.chains.speech import VoiceEncoder
from frostline.backbones.chains.speech_transformers import EXTRA, Waveform, load_extractor
from frostline.backbones.chains.text import load_tokenizer
from frostline.backbones.chains.transformer import Transformer
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.backbones.traced.builders import classifier_name, timm_settings, vision_settings
from frostline.backbones.weights.loading import choose_weights
from frostline.data.speech.mel import Mel
from frostline.data.text.tokens import Tokens


@dataclass(frozen=True)
class Origin:
    """A network without its head, and what makes and runs it outside.

    ``config`` is for its config.json, and for ``template``, a path in this package: the part of the example that runs
    it.
    """

    network: Any
    config: dict[str, Any]
    template: str
    imports: tuple[str, ...] = ()


TEMPLATE = "backbones/templates/{}_network.j2"


def find_origin(backbone: Backbone, node: Mapping[str, Any], size: int | None) -> Origin | None:
    """Return how a network is made outside of Frostline, None where it is not.

    ``node`` is that of the config which it was built from, ``size`` the pixels a side that it was built for.
    """
    if isinstance(backbone, ImageBackbone):
        return _find_image_origin(backbone, node, size)
    if not isinstance(backbone, SequenceBackbone):
        return None
    if isinstance(backbone.network, VoiceEncoder):
        config = {"library": "torch", "name": backbone.name, "pooling": backbone.pooling}
        return Origin(backbone.network, config, TEMPLATE.format("voice"))
    if isinstance(backbone.network, Transformer) and isinstance(backbone.preprocess, Tokens):
        network: Any = backbone.network.model
        config = {"library": "transformers", "transformers": network.config.to_dict(), "pooling": backbone.pooling}
        imports = ("from transformers import AutoConfig, AutoModel",)
        return Origin(network, config, TEMPLATE.format("text"), imports)
    return None


def _find_image_origin(backbone: Backbone, node: Mapping[str, Any], size: int | None) -> Origin | None:
    target = node["_target_"].removeprefix("frostline.backbones.traced.builders.")
    if target == "efficientnet_lite":
        config = {"library": "timm", "name": f"tf_{backbone.name}", "settings": {}}
    elif target == "timm_backbone":
        options = timm_settings(node["name"], size, node.get("options") or {})
        config = {"library": "timm", "name": node["name"], "settings": options}
    elif target == "torchvision_backbone":
        loaded = choose_weights(node.get("weights"), pretrained=True) is not None
        options = vision_settings(node["name"], size, loaded)
        without = classifier_name(node["name"], options)
        config = {"library": "torchvision", "name": node["name"], "settings": options, "without": without}
    else:
        return None
    return Origin(backbone.network, config, TEMPLATE.format("image"), (f"import {config['library']}",))


def find_model(backbone: Backbone, node: Mapping[str, Any]) -> Origin | None:
    """Return a network of transformers that ``AutoModel`` loads from a folder, None for what is another kind or a part.

    A speech network of waveforms is put back into the model that it was taken out of.
    """
    if not isinstance(backbone, SequenceBackbone) or not isinstance(backbone.network, Transformer):
        return None
    network: Any = backbone.network.model
    config, auto = {"pooling": backbone.pooling}, ("from transformers import AutoModel, logging",)
    if isinstance(network, Waveform):
        name = node["name"]
        whole: Any = load_network(name, read_network_config(name, EXTRA), None, EXTRA).model
        for child, module in network.named_children():
            getattr(whole, child).load_state_dict(module.state_dict())
        return Origin(whole, config, TEMPLATE.format("waveform"), auto)
    if network.config.is_encoder_decoder:
        return None
    if isinstance(backbone.preprocess, Tokens):
        return Origin(network, config, TEMPLATE.format("text"), auto)
    spectrogram = isinstance(backbone.preprocess, Mel)
    return Origin(network, config, TEMPLATE.format("spectrogram"), auto) if spectrogram else None


def load_preparation(name: str, backbone: Backbone) -> Any:
    """Return what transformers prepares a network's inputs with."""
    return load_extractor(name) if backbone.preprocess.modality == "speech" else load_tokenizer(name)
