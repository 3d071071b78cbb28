"""Mel frames against those of librosa, torchaudio and transformers, and what does not change them."""

import math
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from frostline.data.inputs import Ragged, pad_sequences
from frostline.data.speech.mel import Mel
from frostline.data.speech.waves import Waves, raise_level

VOICE = Mel(8000, bands=40, compression="none")
# librosa 0.11: feature.melspectrogram(y=wave, sr=16000, n_fft=400, hop_length=160, n_mels=40), some frames and bands.
OF_LIBROSA = {
    "frames": [0, 1, 25, 50],
    "bands": [0, 7, 19, 39],
    "values": [
        [1.55682, 0.00838566, 0.0001213, 1.18173e-06],
        [1.44547, 3.85414e-05, 1.13236e-06, 1.07687e-08],
        [1.45859, 1.06427e-07, 4.65145, 6.87621e-14],
        [0.58501, 0.00053099, 0.00195711, 0.000315529],
    ],
    "sum": 687.2088,
}
# torchaudio 2.11: compliance.kaldi.fbank(wave, sample_frequency=16000, window_type="hanning", num_mel_bins=128).
OF_TORCHAUDIO = {
    "frames": [0, 20, 47],
    "bands": [0, 40, 90, 127],
    "values": [
        [-6.733267, -15.942385, -15.942385, -15.942385],
        [-5.979627, -13.982711, -15.942385, -15.942385],
        [-4.995177, -15.942385, -7.342930, -15.942385],
    ],
    "mean": -12.7270,
}


@pytest.fixture
def wave() -> Tensor:
    """Return half a second of a rising tone over a low one."""
    time = torch.arange(8000, dtype=torch.float64) / 16000
    rising = torch.sin(2 * math.pi * (200 * time + 3000 * time.square()))
    return (0.3 * rising + 0.1 * torch.sin(2 * math.pi * 90 * time)).float()


def batch(*waves: Tensor) -> Ragged:
    return pad_sequences(list(waves))


def some(mel: Mel, wave: Tensor, where: dict[str, Any]) -> Tensor:
    return mel.encode(batch(wave)).values[0][where["frames"]][:, where["bands"]]


def test_frames_are_those_of_librosa(wave: Tensor) -> None:
    assert VOICE.encode(batch(wave)).values.shape == (1, 51, 40)
    torch.testing.assert_close(some(VOICE, wave, OF_LIBROSA), torch.tensor(OF_LIBROSA["values"]), atol=1e-6, rtol=1e-4)
    assert VOICE.encode(batch(wave)).values.sum().item() == pytest.approx(OF_LIBROSA["sum"], rel=1e-5)


def test_frames_are_those_of_torchaudios_kaldi(wave: Tensor) -> None:
    mel = Mel(8000, bands=128, fft=512, low=20.0, kaldi=True)
    frames = mel.encode(batch(wave))
    assert frames.values.shape == (1, 48, 128) and frames.lengths.tolist() == [48]
    torch.testing.assert_close(
        some(mel, wave, OF_TORCHAUDIO), torch.tensor(OF_TORCHAUDIO["values"]), atol=1e-4, rtol=1e-4
    )
    assert frames.values.mean().item() == pytest.approx(OF_TORCHAUDIO["mean"], abs=1e-4)


def test_frames_are_those_of_whispers_own_extractor(wave: Tensor) -> None:
    form = transformers.WhisperFeatureExtractor(chunk_length=2)
    wanted = form([wave.numpy(), wave[:3000].numpy()], sampling_rate=16000, return_tensors="pt").input_features
    mel = Mel(8000, high=8000.0, reflect=True, compression="whisper", least=32000, blank=False, whole=True)
    frames = mel.encode(batch(wave, wave[:3000]))
    torch.testing.assert_close(frames.values, wanted.transpose(1, 2), atol=1e-4, rtol=1e-4)
    assert frames.lengths.tolist() == [200, 200]


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # transformers' own, where torchaudio is not installed
def test_frames_are_those_of_asts_own_extractor(wave: Tensor) -> None:
    form = transformers.ASTFeatureExtractor(max_length=80)
    wanted = form([wave.numpy(), wave[:3000].numpy()], sampling_rate=16000, return_tensors="pt").input_values
    mel = Mel(
        8000,
        bands=128,
        fft=512,
        low=20.0,
        kaldi=True,
        least=400 + 79 * 160,
        mean=form.mean,
        std=2 * form.std,
        whole=True,
    )
    near = 1e-4 if find_spec("torchaudio") else 5e-4  # without it transformers takes a way of its own, a little off
    torch.testing.assert_close(mel.encode(batch(wave, wave[:3000])).values, wanted, atol=near, rtol=near)


def test_waves_are_scaled_as_by_wav2vecs_own_extractor(wave: Tensor) -> None:
    form = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    given = [(wave + 0.2).numpy(), wave[:3000].numpy()]
    wanted = form(given, sampling_rate=16000, padding=True, return_tensors="pt").input_values
    made = Waves(8000, standardise=True).encode(batch(wave + 0.2, wave[:3000]))
    torch.testing.assert_close(made.values, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "mel", [VOICE, Mel(8000), Mel(8000, kaldi=True, fft=512), Mel(8000, level=-20.0), Mel(8000, mean=1.0, std=2.0)]
)
def test_frames_do_not_depend_on_the_rest_of_a_batch(mel: Mel, wave: Tensor) -> None:
    short = wave[:3210]
    together, alone = mel.encode(batch(wave, short)), mel.encode(batch(short))
    count = int(alone.lengths[0])
    assert together.lengths[1] == count and 0 < count < together.lengths[0]
    torch.testing.assert_close(together.values[1, :count], alone.values[0, :count], atol=1e-6, rtol=1e-5)
    assert len(set(together.values[1, count:].flatten().tolist())) == 1


def test_quiet_waves_are_raised_to_a_level_and_loud_ones_left(wave: Tensor) -> None:
    given = batch(wave, wave[:4000] / 100)
    raised = raise_level(given, -30.0)
    assert torch.equal(raised.values[0], wave)
    level = raised.values[1, :4000].square().mean().log10() * 10
    assert level.item() == pytest.approx(-30.0, abs=1e-3)
    assert raise_level(batch(torch.zeros(100)), -30.0).values.sum() == 0


@pytest.mark.parametrize(("samples", "wanted"), [(400, 3), (401, 3), (159, 1), (160, 2), (8000, 51)])
def test_frames_are_counted_as_they_are_made(samples: int, wanted: int, wave: Tensor) -> None:
    assert int(VOICE.encode(batch(wave[:samples])).lengths[0]) == wanted
    assert int(VOICE.frames(torch.tensor(samples))) == wanted


def test_an_example_is_the_same_each_time_and_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    one, other = VOICE.example(3, 4000), VOICE.example(3, 4000)
    assert torch.equal(one.values, other.values) and one.lengths.tolist() == [26, 19, 13]
    assert torch.equal(torch.get_rng_state(), state)
