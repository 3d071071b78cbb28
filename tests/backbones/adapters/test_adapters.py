"""Adapters: what comes in, what goes out, where they start, and that the network behind them is the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.configs import make
from tests.data.sounds import folders
from torch import Tensor, nn

from frostline.backbones.adapters.frames import Characters, Frames, Patches, Rows
from frostline.backbones.adapters.pictures import Rendering, Spectrogram
from frostline.backbones.base import Backbone
from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.chain import Blocks
from frostline.backbones.chains.transformer import Transformer
from frostline.backbones.cuts import check_cut, find_cuts
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.data.inputs import Ragged, count, pad_sequences
from frostline.data.speech.mel import Mel
from frostline.data.speech.sound import Extent, read_wave
from frostline.errors import UserError

SEQUENCE = [
    (Patches, {"patch": 4, "positions": True, "source": None, "size": 16}),
    (Rows, {"source": None, "size": 16}),
    (Frames, {"bands": 8, "stride": 4, "source": None, "seconds": 0.3}),
    (Characters, {"stride": 2, "embedding": 4, "source": None, "tokens": 20}),
]
PICTURE = [(Spectrogram, {"bands": 16, "seconds": 0.5}), (Rendering, {"font": 8})]


class Layer(nn.Module):
    """One linear layer with a norm over each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, frames: Ragged) -> Ragged:
        return Ragged(frames.values + self.norm(self.linear(frames.values)).relu(), frames.lengths)


class Speech(Blocks):
    """Two layers over mel frames."""

    width, most = 8, 64

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Layer(8), Layer(8)])


def speech() -> SequenceBackbone:
    torch.manual_seed(0)
    return SequenceBackbone(Speech(), "speech", Mel(4000, bands=8))


def bert() -> Transformer:
    """A tiny language model with a table of 50 words."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
    config = BertConfig(intermediate_size=16, max_position_embeddings=40, **sizes)
    model = BertModel(config, add_pooling_layer=False).eval()
    example = Ragged(torch.randint(0, 50, (1, 4)), torch.tensor([4]))

    def feed(tokens: Ragged) -> dict[str, Any]:
        return {"input_ids": tokens.values, "attention_mask": tokens.mask.long()}

    def enter(frames: Ragged) -> dict[str, Any]:
        return {"inputs_embeds": frames.values, "attention_mask": frames.mask.long()}

    return Transformer(model, feed, enter, example, width=8, most=40)


class Words:
    """What the tiny language model wants: numbers of words."""

    modality, size, normalisation = "text", 4, ""

    def example(self, count: int, size: int) -> Ragged:
        return Ragged(torch.ones(count, size, dtype=torch.int64), torch.full((count,), size))


def language() -> SequenceBackbone:
    return SequenceBackbone(bert(), "language", cast(Any, Words()))


def image() -> ImageBackbone:
    torch.manual_seed(0)
    backbone = make("backbone/timm", name="test_resnet", weights="none", size=32)
    assert isinstance(backbone, ImageBackbone)
    return backbone.eval()


@pytest.mark.parametrize(("kind", "options"), SEQUENCE)
def test_frames_enter_a_sequence_network_and_every_cut_is_exact(kind: type, options: dict) -> None:
    backbone = speech()
    adapter = kind(**options, backbone=backbone)
    attached(backbone, adapter)
    frames = adapter(backbone.example(3, backbone.preprocess.size))
    assert isinstance(frames, Ragged) and frames.values.shape[::2] == (3, 8)
    assert [cut.name for cut in find_cuts(backbone, backbone.preprocess.size)][:2] == ["adapter", "embeddings"]


@pytest.mark.parametrize(("kind", "options"), PICTURE)
def test_pictures_enter_an_image_network_and_every_cut_is_exact(kind: type, options: dict) -> None:
    backbone = image()
    adapter = kind(**options, backbone=backbone)
    attached(backbone, adapter)
    picture = adapter(backbone.example(3, backbone.preprocess.size))
    assert picture.shape == (3, 3, 32, 32)
    assert torch.equal(picture[:, 0], picture[:, 1]) and torch.equal(picture[:, 0], picture[:, 2]), "repeated at first"


def test_a_vision_transformer_is_built_for_the_picture() -> None:
    backbone = make("backbone/timm", name="test_vit", weights="none", size=48)
    backbone.attach(make("adapter/spectrogram", bands=16, backbone=backbone, seconds=0.5))
    assert backbone(backbone.example(2, backbone.preprocess.size)).shape == (2, backbone.num_features)


def attached(backbone: Backbone, adapter: nn.Module) -> None:
    before = list(backbone.groups)
    backbone.attach(adapter)
    assert list(backbone.groups) == ["adapter", *before]
    size = backbone.preprocess.size
    cuts = find_cuts(backbone, size)
    assert len(cuts) > 3 and cuts[-1].name == "features"
    assert all(check_cut(backbone, cut.name, size) for cut in cuts)
    features = backbone(backbone.example(3, size))
    assert count(features) == 3
    torch.autograd.grad(features.square().sum(), list(adapter.parameters()))


@pytest.mark.parametrize(("kind", "options"), SEQUENCE[2:])
def test_what_is_padded_beside_a_sample_does_not_change_its_frames(kind: type, options: dict) -> None:
    adapter = kind(**options, backbone=speech())
    together = adapter(adapter.preprocess.example(4, 17 if kind is Characters else 4500))
    whole = adapter.preprocess.example(4, 17 if kind is Characters else 4500)
    for row in range(4):
        length = int(whole.lengths[row])
        alone = adapter(Ragged(whole.values[row : row + 1, :length], whole.lengths[row : row + 1]))
        assert alone.lengths[0] == together.lengths[row] == alone.values.shape[1]
        torch.testing.assert_close(alone.values[0], together.values[row, : alone.lengths[0]])


def test_silence_after_a_sound_is_the_mean_of_its_picture() -> None:
    adapter = make("adapter/spectrogram", bands=16, backbone=image(), seconds=0.5)
    adapter.mean.fill_(-3.0)
    frames = pad_sequences([torch.full((20, 16), 5.0), torch.full((51, 16), 5.0)])
    short, full = adapter(frames)
    assert short[:, :, 20:].abs().max() < 1e-6 < full.min()


def words_of(backbone: SequenceBackbone) -> Tensor:
    assert isinstance(backbone.chain, Transformer)
    return backbone.chain.model.get_input_embeddings().weight.detach()  # type: ignore[operator]


def test_frames_start_at_the_scale_of_the_networks_own_embeddings() -> None:
    backbone = language()
    table, adapter = words_of(backbone), make("adapter/frames", bands=8, stride=4, backbone=backbone, seconds=0.3)
    made = adapter(Ragged(torch.randn(500, 28, 8), torch.full((500,), 28)))
    assert made.values.std().item() == pytest.approx(table.std().item(), rel=0.2)
    assert torch.equal(adapter.own_features(), table) and not any("known" in name for name in adapter.state_dict())


def test_a_language_model_lets_frames_in_without_its_table() -> None:
    backbone = language()
    words = sum(parameter.numel() for parameter in backbone.parameters())
    adapter = make("adapter/patches", patch=4, size=16, backbone=backbone)
    backbone.attach(adapter)
    own = sum(parameter.numel() for parameter in backbone.parameters()) - sum(p.numel() for p in adapter.parameters())
    assert own == words - 50 * 8
    assert len(adapter.own_features()) == 50, "what it knew is remembered"
    assert backbone(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, 8)


def test_a_fitted_adapter_standardises_the_training_data() -> None:
    adapter = make("adapter/patches", patch=4, size=16, backbone=speech())
    data = make("data/digits", preprocess=adapter.preprocess, num_per_class=20, size=None)
    adapter.fit(data)
    train = data.splits["train"]
    pixels = cast(Tensor, train.peek(torch.arange(len(train)))).float()
    standard = (pixels - adapter.mean[:, None, None]) / adapter.deviation[:, None, None]
    torch.testing.assert_close(standard.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert {"mean", "deviation"} <= set(adapter.state_dict()), "the cache's keys know them"


@pytest.mark.parametrize(("kind", "options"), [*SEQUENCE, *PICTURE])
def test_every_adapter_can_measure_what_it_wants_of_the_data(kind: type, options: dict) -> None:
    adapter = kind(**options, backbone=speech() if (kind, options) in SEQUENCE else image())
    samples = adapter.preprocess.example(6, adapter.preprocess.size)
    before = adapter(samples)
    adapter.fit(cast(Any, Samples(samples)))
    after = adapter(samples)
    assert type(after) is type(before) and count(after) == 6
    if kind is not Characters:
        standard = (adapter.measured(samples) - adapter.mean) / adapter.deviation
        assert standard.mean().abs() < 1e-3 and abs(standard.std() - 1) < 0.01


class Samples:
    """A data set of these samples."""

    def __init__(self, samples: Any) -> None:
        self.samples, self.splits = samples, {"train": self}

    def __len__(self) -> int:
        return count(self.samples)

    def peek(self, indices: Tensor) -> Any:
        assert indices.tolist() == list(range(len(self)))
        return self.samples


def test_what_never_varies_is_not_divided_by_zero() -> None:
    adapter = make("adapter/frames", bands=2, backbone=speech(), seconds=0.3)
    adapter.fit(cast(Any, Samples(pad_sequences([torch.stack([torch.arange(30.0), torch.full((30,), 7.0)], dim=1)]))))
    assert adapter.deviation[0] > 8 and adapter.deviation[1] == 1 and adapter.mean[1] == 7


def test_rows_are_resampled_into_bands_at_first() -> None:
    adapter = make("adapter/rows", backbone=speech(), size=16)
    ramp = torch.arange(16, dtype=torch.uint8).repeat_interleave(16).view(16, 16).T.expand(1, 3, -1, -1)
    torch.testing.assert_close(adapter(ramp).values[0], torch.arange(0.5, 16, 2).expand(16, -1))


@pytest.mark.parametrize(
    ("name", "network", "values", "words"),
    [
        ("spectrogram", speech, {}, r"^adapter=spectrogram: .* speech takes sequences; .*adapter=frames"),
        ("rows", image, {}, r"^adapter=rows: .* test_resnet takes images; .*adapter=spectrogram"),
        ("patches", speech, {"patch": 5, "size": 16}, r"^adapter\.patch: 5 does not divide data\.size=16"),
        ("patches", speech, {"patch": 1, "size": 16}, r"^adapter\.patch: 256 frames .* the 64 positions"),
        ("frames", speech, {"stride": 1, "seconds": 1.0}, r"^adapter\.stride: 101 frames .* the 64 positions"),
        ("frames", speech, {"stride": 0}, r"^adapter\.stride: 0 is invalid: expected a whole number of 1 or more"),
        ("rows", speech, {"size": 65}, r"^data\.size: 65 frames .* the 64 positions .*; lower it"),
        ("characters", speech, {"tokens": 200}, r"^adapter\.stride: 100 frames"),
        ("rendering", image, {"font": 2}, r"^adapter\.font: 2 pixels are no size for letters"),
        ("rows", speech, {}, r"^freeze=orca .* no table of embeddings .* adapter\.source"),
        ("rows", speech, {"source": "none"}, r"^adapter\.source: there is no folder 'none'"),
        ("rows", speech, {"source": "LICENSE"}, r"^adapter\.source: 'LICENSE' is .* recordings\.$"),
        ("rows", speech, {"source": "src"}, r"^adapter\.source: there is no recording in src"),
        ("patches", language, {"source": "src"}, r"^adapter\.source: language has no use for recordings"),
    ],
)
def test_what_does_not_fit_is_said(name: str, network: Callable[[], Any], values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(f"adapter/{name}", backbone=network(), **values).own_features()


def test_pieces_of_photographs_are_what_an_image_network_knows() -> None:
    adapter = make("adapter/spectrogram", bands=16, backbone=image(), seconds=0.5)
    known = adapter.own_features()
    assert known.shape[1] == 3 * 8 * 8 and len(known) > 30 and known.std() > 0.3 and known.abs().max() < 5, (
        "normalised as the network's own images are"
    )
    assert adapter.vectors(torch.zeros(2, 3, 32, 32)).shape == (2 * 16, 3 * 8 * 8)


def test_frames_of_recordings_are_what_a_network_of_sounds_knows(tmp_path: Path) -> None:
    """A second and a quarter each: what is padding tells nothing."""
    backbone = speech()
    folders(tmp_path, count=2, seconds=0.125)
    adapter = make("adapter/rows", source=str(tmp_path), backbone=backbone, size=16)
    known = adapter.own_features()
    wave = torch.from_numpy(read_wave(str(tmp_path / "test" / "high" / "0.wav"), Extent(16000, 4000, 0.0)))
    frames = cast(Mel, backbone.preprocess).encode(Ragged(wave[None], torch.tensor([len(wave)])))
    length = int(frames.lengths[0])
    torch.testing.assert_close(known[:length], frames.values[0, :length])
    assert len(known) == 12 * length and known.shape[1] == 8
    (tmp_path / "train" / "low" / "1.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"^adapter\.source: .*low/1\.wav is empty .*; remove it"):
        adapter.own_features()


def test_an_adapter_starts_alike_for_a_seed() -> None:
    weights = []
    for _ in range(2):
        backbone = speech()
        torch.manual_seed(3)
        weights.append(make("adapter/frames", bands=8, backbone=backbone, seconds=0.3).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
