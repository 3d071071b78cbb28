"""Text backbones: small networks of many families, saved to a folder and loaded back, whole and in parts."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import configs
from tests.text_networks import FAMILIES, SMALL, saved
from torch import Tensor

from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.cuts import check_cut, find_cuts, prefix, suffix
from frostline.data.inputs import Ragged, pad_sequences

transformers: Any = import_module("transformers")

DECODERS = ("gpt2", "llama")
UNCUT = {
    "albert": ["features"],  # one block for all layers: there is nothing between them to cut
    "t5": ["embeddings", "block3", "features"],  # the first block makes the position bias of all others
}


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def backbone(family: str, tmp_path_factory: pytest.TempPathFactory) -> SequenceBackbone:
    return configs.make("backbone/transformers", name=saved(tmp_path_factory.mktemp(family), family), tokens=12).eval()


def texts(backbone: SequenceBackbone) -> list[Tensor]:
    return backbone.preprocess.encode(["w5 w6 w7 w8 w9 w10 w11", "w12 w13", "w20 w4 w9 w30 w31"])  # type: ignore


def features(backbone: SequenceBackbone, batch: Ragged) -> Tensor:
    with torch.inference_mode():
        found = backbone(batch)
    assert isinstance(found, Tensor)
    return found


def test_groups_are_embeddings_blocks_and_the_last_norm(family: str, backbone: SequenceBackbone) -> None:
    blocks = 1 if family == "albert" else 3
    has_norm = family in ("modernbert", "gpt2", "llama", "t5")
    assert list(backbone.groups) == [
        "embeddings",
        *(f"block{place + 1}" for place in range(blocks)),
        *["norm"] * has_norm,
    ]
    assert backbone.num_features == 16 and not backbone.notes
    assert backbone.pooling == ("last" if family in DECODERS else "mean")


def test_a_text_alone_and_in_a_batch_has_the_same_features(backbone: SequenceBackbone) -> None:
    each = texts(backbone)
    together = features(backbone, pad_sequences(each))
    for text, row in zip(each, together, strict=True):
        assert torch.allclose(features(backbone, pad_sequences([text]))[0], row, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_what_stands_in_the_padding_changes_nothing(backbone: SequenceBackbone) -> None:
    batch = pad_sequences(texts(backbone))
    filled = Ragged(batch.values.masked_fill(~batch.mask, 39), batch.lengths)
    assert torch.allclose(features(backbone, batch), features(backbone, filled), atol=1e-5)


def test_parts_give_the_whole_back(family: str, backbone: SequenceBackbone) -> None:
    batch = pad_sequences(texts(backbone))
    whole = features(backbone, batch)
    cuts = [cut.name for cut in find_cuts(backbone, 12) if check_cut(backbone, cut.name, 12)]
    assert cuts == UNCUT.get(family, ["embeddings", "block1", "block2", "block3", "features"])
    with torch.inference_mode():
        for name, value in zip(cuts, prefix(backbone, cuts)(batch), strict=True):
            assert torch.equal(suffix(backbone, name)(value), whole), name  # type: ignore[arg-type]


def test_it_is_the_library_s_own_output(family: str, backbone: SequenceBackbone) -> None:
    """Pooled by hand: of the hidden states that the library gives for one text at a time."""
    for text in texts(backbone):
        with torch.inference_mode():
            hidden = backbone.chain.model(input_ids=text[None]).last_hidden_state[0]  # type: ignore[operator]
        wanted = hidden[-1] if family in DECODERS else hidden.mean(dim=0)
        assert torch.allclose(features(backbone, pad_sequences([text]))[0], wanted, atol=1e-5)


def test_gradients_reach_what_trains_and_nothing_else(backbone: SequenceBackbone) -> None:
    groups = list(backbone.groups)
    last = [name for name in groups if name.startswith("block")][-1]
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad = name in backbone.groups[last]
        parameter.grad = None
    found = backbone(pad_sequences(texts(backbone)))
    assert isinstance(found, Tensor)
    found.square().sum().backward()
    moved = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert moved and moved <= set(backbone.groups[last])


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "max", "none"])
def test_pooling_sees_real_tokens_only(tmp_path: Path, pooling: str) -> None:
    made = configs.make("backbone/transformers", name=saved(tmp_path), pooling=pooling, tokens=12).eval()
    each = texts(made)
    with torch.inference_mode():
        together = made(pad_sequences(each))
        for place, text in enumerate(each):
            hidden = made.chain.model(input_ids=text[None]).last_hidden_state[0]  # type: ignore[operator]
            pooled = {"mean": hidden.mean(0), "first": hidden[0], "last": hidden[-1], "max": hidden.amax(0)}
            if isinstance(together, Ragged):
                assert pooling == "none" and torch.allclose(together.values[place, : len(text)], hidden, atol=1e-5)
            else:
                assert torch.allclose(together[place], pooled[pooling], atol=1e-5)


def test_weights_are_the_saved_ones_or_random(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    torch.manual_seed(1)
    first, second = (configs.make("backbone/transformers", name=folder) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()
    torch.manual_seed(2)
    random = configs.make("backbone/transformers", name=folder, weights="none")
    assert random.fingerprint() != first.fingerprint() and list(random.groups) == list(first.groups)
    torch.manual_seed(2)
    assert configs.make("backbone/transformers", name=folder, pretrained=False).fingerprint() == random.fingerprint()


@pytest.mark.parametrize("head", ["ForMaskedLM", "ForSequenceClassification"])
def test_heads_of_other_tasks_are_left_out(tmp_path: Path, head: str) -> None:
    (note,) = configs.make("backbone/transformers", name=saved(tmp_path, head=head)).notes
    assert note.startswith("left out what the encoder does not have: ") and "encoder.layer" not in note


def test_half_precision_files_are_used_in_float32(tmp_path: Path) -> None:
    model = transformers.BertModel(transformers.BertConfig(**SMALL)).bfloat16()
    folder = saved(tmp_path)
    model.save_pretrained(folder)
    made = configs.make("backbone/transformers", name=folder)
    assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}


def test_the_architecture_tells_what_the_weights_do_not(tmp_path: Path) -> None:
    one, same, other = (
        configs.make("backbone/transformers", name=saved(tmp_path / name, num_attention_heads=heads)).architecture
        for name, heads in (("a", 2), ("b", 2), ("c", 4))
    )
    assert one == same != other


def test_minilm_tells_texts_apart() -> None:
    """The embedded backbone, as its authors use it: what is alike is near."""
    made = configs.make("backbone/minilm").eval()
    each = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."]
    found = torch.nn.functional.normalize(features(made, pad_sequences(made.preprocess.encode(each))))  # type: ignore
    near = found @ found.T
    assert made.num_features == 384 and near[0, 1] > 0.6 and near[0, 2] < 0.2 and near[1, 2] < 0.2
