"""Configs of small speech networks of the transformers library, of each family."""

from importlib import import_module
from typing import Any

transformers: Any = import_module("transformers")

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
CONVOLUTIONS = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
NO_DROPOUT = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
WAVEFORMS = {
    "wav2vec2": lambda: transformers.Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **NO_DROPOUT, layerdrop=0.5),
    "wav2vec2 large": lambda: transformers.Wav2Vec2Config(
        **SMALL, **CONVOLUTIONS, feat_extract_norm="layer", do_stable_layer_norm=True
    ),
    "hubert": lambda: transformers.HubertConfig(**SMALL, **CONVOLUTIONS),
    "wavlm": lambda: transformers.WavLMConfig(**SMALL, **CONVOLUTIONS),
    "data2vec": lambda: transformers.Data2VecAudioConfig(**SMALL, **(CONVOLUTIONS | {"num_conv_pos_embeddings": 1})),
    "unispeech_sat": lambda: transformers.UniSpeechSatConfig(**SMALL, **CONVOLUTIONS),
    "conformer": lambda: transformers.Wav2Vec2ConformerConfig(**SMALL, **CONVOLUTIONS),
}


def whisper() -> Any:
    return transformers.WhisperConfig(
        d_model=32,
        encoder_layers=3,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=20,
        max_source_positions=50,
        vocab_size=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )


def spectrogram() -> Any:
    return transformers.ASTConfig(**SMALL, num_mel_bins=32, max_length=64)


OTHERS = {"whisper": whisper, "ast": spectrogram}


def extractor(config: Any) -> Any:
    """Return what prepares sounds for the network of a config."""
    if config.model_type == "whisper":
        return transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1)
    if config.model_type == "audio-spectrogram-transformer":
        return transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    return transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=True)
