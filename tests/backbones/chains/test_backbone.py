"""Networks over sequences: groups, cuts that change nothing, padding that does not matter, and pooling."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.sequences import KNOWN, SMALL, WIDTH, Numbers, tiny, transformer
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    T5Config,
)

from frostline.backbones.chains.backbone import POOLING, SequenceBackbone
from frostline.backbones.cuts import check_cut, find_cuts, make_prefix, make_suffix
from frostline.data.inputs import Ragged, pad_sequences
from frostline.errors import UserError

ENDS: dict[str, Any] = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}


def random(config: Any) -> Callable[[], nn.Module]:
    return lambda: AutoModel.from_config(config)


NETWORKS: dict[str, Callable[[], SequenceBackbone]] = {
    "tiny": tiny,
    "bert": lambda: transformer(random(BertConfig(**SMALL))),
    "deberta": lambda: transformer(
        random(DebertaV2Config(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=4))  # type: ignore[call-arg]
    ),
    "distilbert": lambda: transformer(
        random(DistilBertConfig(vocab_size=KNOWN, dim=WIDTH, n_layers=3, n_heads=2, hidden_dim=24))
    ),
    "modernbert": lambda: transformer(random(ModernBertConfig(**SMALL, **ENDS))),
    "gpt2": lambda: transformer(
        random(GPT2Config(vocab_size=KNOWN, n_embd=WIDTH, n_layer=3, n_head=2, bos_token_id=1, eos_token_id=2))
    ),
    "llama": lambda: transformer(random(LlamaConfig(**SMALL, num_key_value_heads=2))),
}
networks = pytest.mark.parametrize("name", NETWORKS)


@networks
def test_every_cut_gives_the_network_back(name: str) -> None:
    backbone = NETWORKS[name]()
    cuts = find_cuts(backbone, 10)
    assert [cut.name for cut in cuts] == ["embeddings", "block1", "block2", "block3", "features"]
    assert all(check_cut(backbone, cut.name, 10) for cut in cuts)
    flops = [cut.flops for cut in cuts]
    assert flops == sorted(flops) and flops[0] < flops[1] < flops[2] < flops[3]
    assert all(cut.shape == (WIDTH,) for cut in cuts)
    assert cuts[1].bytes == 4 * 10 * WIDTH and cuts[-1].bytes == 4 * WIDTH


@networks
def test_groups_are_in_depth_order_and_cuts_hold_what_they_use(name: str) -> None:
    backbone = NETWORKS[name]()
    groups = list(backbone.groups)
    assert groups[:4] == ["embeddings", "block1", "block2", "block3"] and groups[4:] in ([], ["norm"])
    cuts = {cut.name: cut for cut in find_cuts(backbone, 10)}
    below: set[str] = set()
    for group in groups[:4]:
        below |= set(backbone.groups[group])
        assert cuts[group].parameters == below
    assert cuts["features"].parameters == {name for name, _ in backbone.named_parameters()}


@networks
def test_padding_does_not_matter(name: str) -> None:
    backbone = NETWORKS[name]().eval()
    batch = Numbers().example(3, 10)
    garbage = Ragged(torch.where(batch.mask, batch.values, 7), batch.lengths)
    with torch.inference_mode():
        together = backbone(batch)
        assert isinstance(together, torch.Tensor)
        torch.testing.assert_close(backbone(garbage), together, rtol=1e-5, atol=1e-5)
        for place, length in enumerate(batch.lengths.tolist()):
            alone = backbone(Ragged(batch.values[place : place + 1, :length], torch.tensor([length])))
            torch.testing.assert_close(alone[0], together[place], rtol=1e-5, atol=1e-5)


@networks
def test_a_suffix_trains_as_the_whole_does(name: str) -> None:
    backbone = NETWORKS[name]()
    frozen = {"embeddings", "block1"}
    for group in frozen:
        for member in backbone.groups[group]:
            backbone.get_parameter(member).requires_grad_(False)
    backbone.eval()
    batch = Numbers().example(4, 10)
    (held,) = make_prefix(backbone, ["block1"])(batch)
    gradients = []
    for features in (backbone(batch), make_suffix(backbone, "block1")(held)):
        backbone.zero_grad()
        features.square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert gradients[0]
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value)


def test_blocks_before_the_part_are_not_run() -> None:
    backbone = NETWORKS["bert"]()
    assert len(find_cuts(backbone, 10)) == 5
    (held,) = make_prefix(backbone, ["block2"])(Numbers().example(2, 10))
    ran: list[int] = []
    for place, block in enumerate(backbone.chain.blocks):  # type: ignore[union-attr]
        inner = next(block.children())
        inner.register_forward_hook(lambda *_, place=place: ran.append(place))
    with torch.no_grad():
        make_suffix(backbone, "block2")(held)
        assert ran == [2]
        ran.clear()
        make_prefix(backbone, ["block1"])(Numbers().example(2, 10))
        assert ran == [0]


def test_a_network_whose_blocks_share_more_than_their_output_is_not_cut_there() -> None:
    config = T5Config(vocab_size=KNOWN, d_model=WIDTH, d_kv=6, d_ff=24, num_layers=3, num_heads=2)
    backbone = transformer(lambda: AutoModel.from_config(config).get_encoder())
    good = {cut.name for cut in find_cuts(backbone, 10) if check_cut(backbone, cut.name, 10)}
    assert good == {"embeddings", "block3", "features"}, "position biases are made by the first block"


def test_pooling_sees_only_what_is_real() -> None:
    hidden = pad_sequences([torch.tensor([[1.0, 5.0], [3.0, 1.0]]), torch.tensor([[-2.0, -4.0]])])
    expected = {
        "mean": [[2.0, 3.0], [-2.0, -4.0]],
        "first": [[1.0, 5.0], [-2.0, -4.0]],
        "last": [[3.0, 1.0], [-2.0, -4.0]],
        "max": [[3.0, 5.0], [-2.0, -4.0]],
    }
    for name, values in expected.items():
        assert torch.equal(POOLING[name](hidden), torch.tensor(values)), name  # type: ignore[arg-type]
    assert POOLING["none"](hidden) is hidden


def test_unpooled_features_are_sequences_and_an_unknown_pooling_is_refused() -> None:
    backbone = tiny("none").eval()
    features = backbone(Numbers().example(3, 10))
    assert isinstance(features, Ragged) and features.values.shape == (3, 10, WIDTH)
    assert backbone.num_features == WIDTH
    assert all(check_cut(backbone, cut.name, 10) for cut in find_cuts(backbone, 10))
    with pytest.raises(UserError, match=r"backbone\.pooling.*mean"):
        tiny("medium")


def test_what_is_frozen_stands_in_eval_mode() -> None:
    backbone = tiny().train()
    backbone.freeze_modes({"embeddings", "block1"})
    chain = backbone.chain
    blocks = list(chain.blocks)  # type: ignore[arg-type]
    assert not chain.training and not any(module.training for module in blocks[0].modules())
    assert all(module.training for module in blocks[2].modules())
