"""Speech networks of the transformers library: small random ones, saved to a folder and loaded back."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make
from tests.data.sounds import folders
from tests.speech_networks import CONVOLUTIONS, OTHERS, SMALL, WAVEFORMS, extractor
from torch import Tensor

from frostline.backbones.adapters.frames import Rows
from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.cuts import check_cut, find_cuts, make_prefix
from frostline.data.inputs import Ragged
from frostline.data.speech.recordings import read_some
from frostline.errors import UserError

transformers: Any = import_module("transformers")
# transformers 5.23's WavLM asks torch 2.14 for attention in a way that torch has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

SECONDS = 0.5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that saves a small random network, once, and returns its folder."""
    root = tmp_path_factory.mktemp("networks")

    def save(name: str) -> Path:
        folder = root / name.replace(" ", "_")
        if not folder.exists():
            torch.manual_seed(0)
            config = (WAVEFORMS | OTHERS)[name]()
            model = transformers.AutoModel.from_config(config)
            model.save_pretrained(folder)
            extractor(config).save_pretrained(folder)
        return folder

    return save


def build(folder: Path, **options: Any) -> SequenceBackbone:
    return make("backbone/transformers_audio", name=str(folder), **{"seconds": SECONDS, **options}).eval()


def encoded(backbone: SequenceBackbone, given: Ragged) -> Ragged:
    encode: Any = backbone.preprocess.encode  # type: ignore[attr-defined]
    return encode(given)


def waves(*lengths: int) -> Ragged:
    values = torch.randn(len(lengths), round(SECONDS * 16000), generator=torch.Generator().manual_seed(1))
    made = Ragged(values / 10, torch.tensor(lengths))
    return Ragged(made.values * made.mask, made.lengths)


@pytest.mark.parametrize("name", [*WAVEFORMS, *OTHERS])
def test_every_cut_gives_the_whole_back(name: str, saved: Callable[[str], Path]) -> None:
    backbone = build(saved(name))
    assert [*backbone.groups][:4] == ["embeddings", "block1", "block2", "block3"]
    cuts = [cut.name for cut in find_cuts(backbone, backbone.preprocess.size)]
    assert cuts == ["embeddings", "block1", "block2", "block3", "features"]
    assert all(check_cut(backbone, cut, backbone.preprocess.size) for cut in cuts)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_a_network_of_waves_does_what_the_library_does(name: str, saved: Callable[[str], Path]) -> None:
    folder = saved(name)
    backbone, own = build(folder, pooling="none"), transformers.AutoModel.from_pretrained(folder).eval()
    given = encoded(backbone, waves(8000, 6000))
    with torch.inference_mode():
        features = backbone(given)
        wanted = own(given.values, attention_mask=given.mask.long()).last_hidden_state
    assert isinstance(features, Ragged)
    assert features.lengths.tolist() == own._get_feat_extract_output_lengths(given.lengths).tolist()
    torch.testing.assert_close(features.values[features.mask], wanted[features.mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["wav2vec2 large", "wavlm", "hubert"])
def test_features_do_not_depend_on_the_rest_of_a_batch(name: str, saved: Callable[[str], Path]) -> None:
    backbone = build(saved(name))
    together, alone = waves(8000, 5000), waves(8000, 5000)
    with torch.inference_mode():
        whole = backbone(encoded(backbone, together))
        one = backbone(encoded(backbone, Ragged(alone.values[1:], alone.lengths[1:])))
        (hidden,) = make_prefix(backbone, ["block2"])(encoded(backbone, together))
        assert isinstance(hidden, Ragged)
        short = Ragged(hidden.values[1:, : hidden.lengths[1]], hidden.lengths[1:])
        (cached,) = make_prefix(backbone, ["features"], "block2")(short)
    assert isinstance(whole, Tensor)
    torch.testing.assert_close(one, whole[1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cached, whole[1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_frames_of_an_adapter_enter_and_every_cut_is_exact(name: str, saved: Callable[[str], Path]) -> None:
    backbone = build(saved(name))
    backbone.attach(make("adapter/rows", backbone=backbone, size=16))
    assert not any("feature_extractor" in name for name, _ in backbone.named_parameters())
    cuts = [cut.name for cut in find_cuts(backbone, 16)]
    assert cuts[:2] == ["adapter", "embeddings"] and all(check_cut(backbone, cut, 16) for cut in cuts)


def test_an_adapter_is_told_what_the_convolutions_make_of_recordings(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    backbone, own = build(saved("wav2vec2")), transformers.AutoModel.from_pretrained(saved("wav2vec2")).eval()
    adapter = Rows(str(folders(tmp_path, count=1)), backbone=backbone, size=16)
    backbone.attach(adapter)
    given = read_some("adapter.source", str(tmp_path), adapter.hearing, 64)
    assert isinstance(given, Ragged)
    with torch.inference_mode():
        wanted = own.feature_extractor(given.values).transpose(1, 2)
    lengths = own._get_feat_extract_output_lengths(given.lengths).tolist()
    torch.testing.assert_close(
        adapter.own_features(), torch.cat([row[:length] for row, length in zip(wanted, lengths, strict=True)])
    )


def test_whisper_does_what_the_library_does(saved: Callable[[str], Path]) -> None:
    folder = saved("whisper")
    backbone, own = build(folder, seconds=1.0, pooling="none"), transformers.AutoModel.from_pretrained(folder).eval()
    form = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    wave = waves(8000).values[0]
    with torch.inference_mode():
        given = form(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features
        wanted = own.encoder(given).last_hidden_state
        features = backbone(encoded(backbone, Ragged(wave[None], torch.tensor([8000]))))
    assert isinstance(features, Ragged)
    torch.testing.assert_close(features.values, wanted, atol=1e-5, rtol=1e-5)


def test_whisper_takes_less_than_its_own_length_and_no_more(saved: Callable[[str], Path]) -> None:
    folder = saved("whisper")
    assert build(folder, pooling="none").example(1, 8000).values.shape[1] == 50  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"data\.seconds: 2 is more than the 1 s"):
        build(folder, seconds=2.0)


def test_ast_does_what_the_library_does(saved: Callable[[str], Path]) -> None:
    folder = saved("ast")
    backbone, own = build(folder, pooling="first"), transformers.AutoModel.from_pretrained(folder).eval()
    form = transformers.ASTFeatureExtractor.from_pretrained(folder)
    wave = waves(8000).values[0]
    with torch.inference_mode():
        given = form(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_values
        wanted = own(given).last_hidden_state[:, 0]
        features = backbone(encoded(backbone, Ragged(wave[None], torch.tensor([8000]))))
    torch.testing.assert_close(features, wanted, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match=r"data\.seconds: 3 is more than"):
        build(folder, seconds=3.0)


def test_nothing_random_is_left_in_a_network_that_trains(saved: Callable[[str], Path]) -> None:
    backbone = build(saved("wav2vec2"))
    given = encoded(backbone, waves(8000, 6000))
    expected = backbone(given)
    torch.testing.assert_close(backbone.train()(given), expected, atol=1e-4, rtol=1e-3)


def test_every_parameter_learns(saved: Callable[[str], Path]) -> None:
    """What got no gradient would stop training on several processes."""
    for name in ("wav2vec2", "wavlm", "whisper", "ast"):
        backbone = build(saved(name)).train()
        features = backbone(backbone.example(2, backbone.preprocess.size))
        assert isinstance(features, Tensor)
        features.square().sum().backward()
        idle = [key for key, value in backbone.named_parameters() if value.grad is None]
        assert not idle, (name, idle)


def test_weights_may_be_random_and_a_function_of_the_seed(saved: Callable[[str], Path]) -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(build(saved("hubert"), pretrained=False).fingerprint())
    assert made[0] == made[1] != build(saved("hubert")).fingerprint()


def test_a_network_of_text_is_refused(tmp_path: Path) -> None:
    transformers.BertConfig(**SMALL).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"backbone\.name: .* is a bert, no network of speech"):
        make("backbone/transformers_audio", name=str(tmp_path))


def test_a_folder_without_an_extractor_is_refused(tmp_path: Path) -> None:
    config = transformers.HubertConfig(**SMALL, **CONVOLUTIONS)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"backbone\.name: .* cannot be loaded"):
        make("backbone/transformers_audio", name=str(tmp_path))


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"auto_map": {}}', '{"sampling_rate": "16000"}', '{"sampling_rate": 0}']
)
def test_a_damaged_extractor_is_named(saved: Callable[[str], Path], tmp_path: Path, content: str) -> None:
    folder = shutil.copytree(saved("hubert"), tmp_path / "hubert")
    (folder / "preprocessor_config.json").write_text(content)
    with pytest.raises(UserError, match=r"^backbone\.name: .*preprocessor_config\.json"):
        build(folder)
