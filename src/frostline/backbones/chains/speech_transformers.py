"""Builder of speech backbones from the transformers library: wav2vec 2.0 and its kin, Whisper's encoder, AST."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.hub import (
    KEY,
    explain_errors,
    find_source,
    import_transformers,
    load_network,
    make_sequence_backbone,
    read_network_config,
)
from frostline.backbones.chains.transformer import Transformer
from frostline.backbones.weights.loading import choose_weights
from frostline.data.inputs import Ragged
from frostline.data.speech.hearing import Hearing
from frostline.data.speech.mel import Mel
from frostline.data.speech.waves import Waves
from frostline.errors import UserError

EXTRA = "audio"
SECONDS = 4.0
"""Where the data is not speech."""


def transformers_audio(
    name: str,
    weights: str | None,
    pooling: str,
    *,
    pretrained: bool = True,
    seconds: float | None = None,
) -> SequenceBackbone:
    """Build an encoder of speech that ``AutoModel`` loads (Wolf et al. 2020, arXiv:1910.03771).

    ``name`` is the hub's or a folder, ``weights`` is ``pretrained`` or ``none``, ``seconds`` the length of a
    recording. The network's own random masking and dropping of layers is off: augmentation is the data's business.
    Raises UserError for what is not there, is of another kind, or would have to run code.
    """
    config = read_network_config(name, EXTRA)
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UserError(f"{KEY}: {name} is a {config.model_type}, no network of speech known here; those are: {known}.")
    config.layerdrop = config.encoder_layerdrop = 0.0
    loaded = load_network(name, config, choose_weights(weights, pretrained), EXTRA)
    preprocess, chain = FAMILIES[config.model_type](loaded.model, load_extractor(name), seconds or SECONDS)
    return make_sequence_backbone(loaded, chain, preprocess, pooling)


def load_extractor(name: str) -> Any:
    """Return what came with a network to say how it wants its sound. Raises UserError where there is nothing."""
    place, how = find_source(name)
    config = read_network_config(name, EXTRA)
    with explain_errors(name):
        found = import_transformers(EXTRA).AutoFeatureExtractor.from_pretrained(place, config=config, **how)
    rate = getattr(found, "sampling_rate", None)
    if type(rate) is not int or rate < 1:
        raise UserError(f"{KEY}: the preprocessor_config.json of {name} says no sampling_rate that could be: {rate!r}.")
    return found


class Waveform(nn.Module):
    """wav2vec 2.0, or a network like it, without the masking that it was pretrained with.

    Waves [B, N] or, in place of what its convolutions make of them, frames [B, T, C] in; ``mask`` [B, T] is of frames.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.feature_extractor, self.feature_projection = model.feature_extractor, model.feature_projection
        self.encoder = model.encoder

    def forward(self, mask: Tensor, waves: Tensor | None = None, frames: Tensor | None = None) -> Any:
        if frames is None:
            frames = self.feature_extractor(waves).transpose(1, 2)
        projected = self.feature_projection(frames)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        return self.encoder(hidden, attention_mask=mask)

    def get_input_embeddings(self) -> nn.Module:
        """Return what only waves go through."""
        return self.feature_extractor

    def set_input_embeddings(self, module: nn.Module) -> None:
        """Replace what only waves go through."""
        self.feature_extractor = module


def build_waveform(model: Any, form: Any, seconds: float) -> tuple[Hearing, Transformer]:
    """Return what a network of waveforms wants, and its chain (Baevski et al. 2020, wav2vec 2.0, arXiv:2006.11477)."""
    config = model.config
    kernels, strides = (tuple(map(int, each)) for each in (config.conv_kernel, config.conv_stride))
    convolutions = tuple(zip(kernels, strides, strict=True))
    rate = form.sampling_rate
    preprocess = Waves(round(seconds * rate), rate, bool(form.do_normalize), convolutions)
    width = int(config.conv_dim[-1])
    extractor = model.feature_extractor  # an adapter takes it out of the network, and may ask what it makes of sounds
    if config.model_type == "wavlm":
        _own_bias(model.encoder.layers)

    def feed(batch: Ragged) -> dict[str, Tensor]:
        lengths = preprocess.steps(batch.lengths)
        steps = int(preprocess.steps(torch.tensor(batch.values.shape[1])))
        return {"waves": batch.values, "mask": torch.arange(steps, device=lengths.device) < lengths[:, None]}

    def front(batch: Ragged) -> Ragged:
        return Ragged(extractor(batch.values).transpose(1, 2), preprocess.steps(batch.lengths))

    def enter(frames: Ragged) -> dict[str, Tensor]:
        values = frames.values
        if values.shape[-1] != width:  # hidden states: only their shape matters
            values = values.new_zeros(*values.shape[:2], width)
        return {"frames": values, "mask": frames.mask}

    chain = Transformer(
        Waveform(model),
        feed,
        enter,
        preprocess.example(2, min(preprocess.size, rate // 2)),
        bypass={"encoder.pos_conv_embed": lambda hidden: torch.zeros_like(hidden.values)}
        if hasattr(model.encoder, "pos_conv_embed")
        else None,
        lengths=preprocess.steps,
        width=width,
        front=front,
    )
    return preprocess, chain


def _own_bias(layers: nn.ModuleList) -> None:
    """Let each layer of WavLM make the position bias when none is given; only the first has what it is made of."""
    first: Any = layers[0]
    for layer in layers:
        layer.attention.compute_bias = first.attention.compute_bias  # type: ignore[union-attr]


def build_whisper(model: Any, form: Any, seconds: float) -> tuple[Hearing, Transformer]:
    """Return what Whisper's encoder wants, and its chain (Radford et al. 2022, arXiv:2212.04356).

    It takes ``seconds`` of sound in place of its own 30, with the first of its position embeddings; what is shorter is
    padded with silence, which it attends to, having no mask. They stay as they are, as in its own training.
    """
    rate, hop = form.sampling_rate, form.hop_length
    places = math.ceil(seconds * rate / (2 * hop))
    own = model.embed_positions.weight.detach()
    if places > len(own):
        raise UserError(f"data.seconds: {seconds:g} is more than the {len(own) * 2 * hop / rate:g} s of Whisper.")
    del model.embed_positions.weight
    model.embed_positions.register_buffer("weight", own[:places].clone())
    model.embed_positions.num_embeddings = model.config.max_source_positions = places
    preprocess = Mel(
        round(seconds * rate),
        rate,
        form.feature_size,
        form.n_fft,
        hop,
        form.n_fft,
        high=8000.0,
        reflect=True,
        compression="whisper",
        least=places * 2 * hop,
        blank=False,
        whole=True,
        stride=2,
    )

    def feed(batch: Ragged) -> dict[str, Tensor]:
        return {"input_features": batch.values.transpose(1, 2)}

    def enter(hidden: Ragged) -> dict[str, Tensor]:
        return {"input_features": hidden.values.new_zeros(len(hidden.values), 1, 2 * places)}

    bypass: dict[str, Callable[[Ragged], Tensor]] = {
        "conv1": lambda hidden: hidden.values.new_zeros(1),
        "conv2": lambda hidden: hidden.values.transpose(1, 2),
    }
    example = preprocess.example(2, preprocess.size)
    return preprocess, Transformer(model, feed, enter, example, bypass=bypass, lengths=lambda frames: frames // 2)


def build_spectrogram(model: Any, form: Any, seconds: float) -> tuple[Hearing, Transformer]:
    """Return what the audio spectrogram transformer wants, and its chain (Gong et al. 2021, arXiv:2104.01778).

    All recordings are padded to its own length, and all of its patches are real: it knows no mask.
    """
    rate, window, hop, frames = form.sampling_rate, 400, 160, model.config.max_length
    least = window + (frames - 1) * hop
    if round(seconds * rate) > least:
        raise UserError(f"data.seconds: {seconds:g} is more than the {least / rate:.4g} s of this network; lower it.")
    scale = (form.mean, 2 * form.std) if form.do_normalize else (0.0, 1.0)
    preprocess = Mel(
        round(seconds * rate),
        rate,
        form.num_mel_bins,
        window,
        hop,
        fft=512,
        low=20.0,
        kaldi=True,
        least=least,
        whole=True,
        mean=scale[0],
        std=scale[1],
    )
    patches, bins = model.embeddings.position_embeddings.shape[1], form.num_mel_bins

    def feed(batch: Ragged) -> dict[str, Tensor]:
        return {"input_values": batch.values}

    def enter(hidden: Ragged) -> dict[str, Tensor]:
        return {"input_values": hidden.values.new_zeros(len(hidden.values), 1, bins)}

    chain = Transformer(
        model,
        feed,
        enter,
        preprocess.example(2, preprocess.size),
        bypass={"embeddings": lambda hidden: hidden.values},
        lengths=lambda lengths: torch.full_like(lengths, patches),
    )
    return preprocess, chain


FAMILIES: dict[str, Callable[[Any, Any, float], tuple[Hearing, Transformer]]] = {
    "wav2vec2": build_waveform,
    "hubert": build_waveform,
    "wavlm": build_waveform,
    "data2vec-audio": build_waveform,
    "unispeech": build_waveform,
    "unispeech-sat": build_waveform,
    "wav2vec2-conformer": build_waveform,
    "whisper": build_whisper,
    "audio-spectrogram-transformer": build_spectrogram,
}
