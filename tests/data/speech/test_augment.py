"""Changes of recordings: pure functions of seed, index and view, that touch only what is real."""

from pathlib import Path

import pytest
import torch
from tests.configs import make
from torch import Tensor

from frostline.data.image.augment import describe
from frostline.data.inputs import Ragged
from frostline.data.speech.augment import Sound, Wave, augment_sequences, move_wave
from frostline.errors import UserError


@pytest.fixture
def given() -> Ragged:
    values = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    made = Ragged(values, torch.tensor([1000, 800, 600, 1]))
    return Ragged(values * made.mask, made.lengths)


def wave(given: Ragged, indices: list[int], view: int = 0, change: Sound | None = None) -> Tensor:
    rows = Ragged(given.values[indices], given.lengths[indices])
    chosen: Sound = change or make("augment/speech_light")
    return augment_sequences(chosen.wave, rows, torch.tensor(indices), 7, view, "wave").values


def test_a_change_is_a_function_of_seed_index_and_view(given: Ragged) -> None:
    whole = wave(given, [0, 1, 2, 3])
    assert torch.equal(wave(given, [2, 0]), whole[[2, 0]])
    assert not torch.equal(wave(given, [0, 1], view=1), whole[:2])
    assert not torch.equal(whole[0], given.values[0])


def test_what_is_beyond_the_end_stays_silent_and_the_generator_as_it_was(given: Ragged) -> None:
    state = torch.get_rng_state()
    whole = wave(given, [0, 1, 2, 3])
    assert torch.equal(torch.get_rng_state(), state)
    assert not whole[~given.mask].any()


def test_gain_and_noise_stay_within_their_strength(given: Ragged) -> None:
    level = given.values[0].square().mean()
    gains = [
        (wave(given, [0], view, Wave(6.0, 0.0, None))[0].square().mean() / level).log10() * 10 for view in range(40)
    ]
    assert -6 <= min(gains) < -3 and 3 < max(gains) <= 6
    noises = [wave(given, [0], view, Wave(0.0, 0.0, 20.0))[0] - given.values[0] for view in range(40)]
    ratios = [(level / noise.square().mean()).log10() * 10 for noise in noises]
    assert 19 < min(ratios) < 30 and 40 < max(ratios) < 52


def test_a_wave_moves_and_silence_follows() -> None:
    given = torch.arange(1.0, 6.0)
    assert move_wave(given, 2).tolist() == [0, 0, 1, 2, 3]
    assert move_wave(given, -2).tolist() == [3, 4, 5, 0, 0]
    assert move_wave(given, 0).tolist() == given.tolist()


def test_masks_cover_stretches_up_to_their_width() -> None:
    frames = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    rows, columns = [], []
    for seed in range(60):
        torch.manual_seed(seed)
        masked = make("augment/specaugment", times=1, time_width=0.2, bands=1, band_width=0.3).frames(frames)
        same = masked == frames.mean()
        rows.append(int(same.all(dim=1).sum()))
        columns.append(int(same.all(dim=0).sum()))
        assert torch.equal(masked[~same], frames[~same])
    assert max(rows) == 10 and max(columns) == 6 and min(rows) == 0
    nothing = make("augment/specaugment", times=0, bands=0).frames(frames)
    assert torch.equal(nothing, frames)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: make("augment/speech_light", gain=-1.0), "gain"),
        (lambda: make("augment/speech_light", shift=1.5), "shift"),
        (lambda: make("augment/specaugment", time_width=2.0), "time_width"),
        (lambda: make("augment/specaugment", band_width=-0.1), "band_width"),
    ],
)
def test_strengths_out_of_range_are_refused(make: type, key: str) -> None:
    with pytest.raises(UserError, match=rf"augment\.{key}: "):
        make()


def test_a_change_that_does_not_keep_the_length_is_refused(given: Ragged) -> None:
    class Half(Sound):
        def wave(self, wave: Tensor) -> Tensor:
            return wave[::2]

    with pytest.raises(UserError, match="it must keep size and type"):
        wave(given, [0], change=Half())


def test_every_strength_is_in_a_caches_key(tmp_path: Path) -> None:
    waves = [make("augment/speech_light", **one) for one in ({}, {"gain": 5.0}, {"snr": None})]
    masks = [make("augment/specaugment", **one) for one in ({}, {"times": 3})]
    assert len({describe(each) for each in (*waves, *masks)}) == 5
