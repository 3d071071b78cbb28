"""A tiny network over sequences of numbers, small transformers, and sequences in memory: what many tests stand on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.chain import Blocks
from frostline.backbones.chains.transformer import Transformer
from frostline.data.base import DataModule, Facts, Loading, Preparation
from frostline.data.inputs import Ragged, make_generator, pad_sequences
from frostline.data.loading import Oddity
from frostline.data.splits import SPLITS
from frostline.data.text.characters import TextBytes

KNOWN, WIDTH = 30, 12
SMALL: dict[str, Any] = {
    "vocab_size": KNOWN,
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}


@dataclass(frozen=True)
class Numbers(TextBytes):
    """Sequences of numbers from 3 up to ``KNOWN``, which stand for texts."""

    size: int = 10

    def example(self, count: int, size: int) -> Ragged:
        values = torch.randint(3, KNOWN, (count, size), generator=make_generator())
        return Ragged(values, torch.tensor([max(1, size - 2 * place) for place in range(count)]))


class Step(nn.Module):
    """A residual layer with dropout over each position and the mean of the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Dropout(0.2)

    def forward(self, hidden: Ragged) -> Ragged:
        real = hidden.mask[..., None]
        mean = (hidden.values * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
        return Ragged(hidden.values + self.dropout(self.linear(self.norm(hidden.values + mean)).tanh()), hidden.lengths)


class Tiny(Blocks):
    """An embedding, three steps and a norm."""

    width, most, tail = WIDTH, 40, ("norm",)

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(KNOWN, WIDTH)
        self.blocks = nn.ModuleList(Step() for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)

    def front(self, inputs: Ragged) -> Ragged:
        return Ragged(self.embedding(inputs.values), inputs.lengths)

    def finish(self, hidden: Ragged) -> Ragged:
        return Ragged(self.norm(hidden.values), hidden.lengths)


def tiny(pooling: str = "mean") -> SequenceBackbone:
    """Return the tiny network, with the same random weights each time."""
    torch.manual_seed(0)
    return SequenceBackbone(Tiny(), "tiny", Numbers(), pooling)


def transformer(make: Callable[[], nn.Module], pooling: str = "mean") -> SequenceBackbone:
    """Return a small model of transformers around random weights, the same each time."""
    torch.manual_seed(0)
    model = make().eval()
    width = model.get_input_embeddings().embedding_dim  # type: ignore[operator]

    def feed(batch: Ragged) -> dict[str, Any]:
        return {"input_ids": batch.values, "attention_mask": batch.mask.long()}

    def enter(frames: Ragged) -> dict[str, Any]:
        values = frames.values if frames.values.shape[-1] == width else torch.zeros(*frames.values.shape[:2], width)
        return {"inputs_embeds": values, "attention_mask": frames.mask.long()}

    chain = Transformer(model, feed, enter, Numbers().example(1, 10), width=width, most=40)
    return SequenceBackbone(chain, type(model).__name__, Numbers(), pooling)


class Sequences:
    """A split of random sequences; the label is whether the first number is a large one."""

    costly = False
    digests = None

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.lengths: Tensor | None = torch.randint(1, 11, (count,), generator=generator)
        self.rows = [torch.randint(3, KNOWN, (int(n),), generator=generator) for n in self.lengths]
        self.labels = torch.tensor([int(row[0] > KNOWN // 2) for row in self.rows])
        self.names = [f"{seed}/{place}" for place in range(count)]
        self.fingerprint = f"sequences {count} {seed}"

    def __len__(self) -> int:
        return len(self.rows)

    def check(self) -> list[str]:
        return []

    def inputs(self, indices: Tensor, view: int) -> Ragged:
        return pad_sequences([self.rows[place] for place in indices.tolist()])

    def peek(self, indices: Tensor) -> Ragged:
        return self.inputs(indices, 0)

    def measure(self) -> dict[str, list[float]]:
        return {"numbers": [float(len(row)) for row in self.rows]}

    def find_oddities(self, indices: Tensor) -> list[Oddity | None]:
        return [None] * len(indices)

    def preview(self, index: int) -> None:
        return None


def sequences(count: int = 90, batch_size: int = 8) -> DataModule:
    """Return a data set of random sequences."""
    splits = {name: Sequences(count, seed) for seed, name in enumerate(SPLITS)}
    preparation = Preparation(Numbers(), dict.fromkeys(SPLITS, "none"), typical=6)
    return DataModule(splits, Facts(["small", "large"]), preparation, Loading(batch_size, 0, 1, 0))


def save_bert(folder: Path, **options: Any) -> Path:
    """Save a small random BERT with a tokenizer of words, as transformers does, and return its folder."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    small: Any = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
    config = transformers.BertConfig(**small, max_position_embeddings=20, vocab_size=40, **options)
    transformers.BertModel(config).save_pretrained(folder)
    words = {"[UNK]": 0} | {f"w{place}": place for place in range(1, 40)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    transformers.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(folder)
    return folder


def write_texts(folder: Path) -> Path:
    """Write tables of texts of one word to more than are kept, and return their folder."""
    folder.mkdir()
    for split in SPLITS:
        rows = [
            f"{' '.join(f'w{(place * step) % 39 + 1}' for step in range(1, place + 2))},{'ab'[place % 2]}"
            for place in range(14)
        ]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return folder
