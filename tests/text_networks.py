"""Small text networks of the transformers library, of each family."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

transformers: Any = import_module("transformers")

VOCABULARY = 40
DEEP = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
SMALL = DEEP | {"max_position_embeddings": 20, "vocab_size": VOCABULARY}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", SMALL),
    "roberta": ("Roberta", SMALL),
    "distilbert": ("DistilBert", {"dim": 16, "hidden_dim": 24, "n_layers": 3, "n_heads": 2, "vocab_size": VOCABULARY}),
    "deberta": (
        "DebertaV2",
        SMALL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 8},
    ),
    "modernbert": (
        "ModernBert",
        SMALL | {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "local_attention": 4},
    ),
    "electra": ("Electra", SMALL | {"embedding_size": 8}),
    "mpnet": ("MPNet", SMALL),
    "albert": ("Albert", SMALL | {"embedding_size": 8}),
    "gpt2": ("GPT2", {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 20, "vocab_size": VOCABULARY}),
    "llama": ("Llama", SMALL | {"num_key_value_heads": 2}),
    "t5": ("T5", {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2, "vocab_size": VOCABULARY}),
}


def saved(folder: Path, family: str = "bert", head: str = "Model", vocabulary: int = VOCABULARY, **options: Any) -> str:
    """Save a small random network, with a tokenizer of as many words as it has embeddings, and return where."""
    kind, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(settings | options))
    getattr(transformers, f"{kind}{head}")(config).save_pretrained(folder)
    words = {"[UNK]": 0} | {f"w{place}": place for place in range(1, vocabulary)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    transformers.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(folder)
    return str(folder)
