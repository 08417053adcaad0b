"""Onsets are found where a sound has them, and a film is fast there."""

import numpy as np
import pytest
import torch
from clicks import RATE, click_track
from torch.testing import assert_close

from vae.latent.onsets import find_onsets, speed_of_sound


@pytest.mark.parametrize("bass", [0.0, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_every_click_is_found_and_nothing_else(noise, bass):
    for seed in range(4):
        times = np.random.default_rng(seed).uniform(0.12, 0.9, 8).cumsum()
        found = find_onsets(click_track(times[-1] + 1, times, noise, bass, seed), RATE)
        assert len(found.times) == len(times)
        assert np.abs(found.times - times).max() < 1 / 60
        assert ((found.strengths > 0) & (found.strengths <= 1)).all()


def test_noise_and_held_tones_have_no_onsets_nor_has_silence():
    for noise, bass in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.9), (0.01, 0.5)):
        assert not len(find_onsets(click_track(5, [], noise, bass), RATE).times), (noise, bass)


@pytest.mark.parametrize("fps", [12.5, 20, 60])
def test_a_film_is_fastest_at_the_clicks_and_rests_in_silence(fps):
    times = [0.71, 1.4, 1.75, 2.9]
    speed = speed_of_sound(click_track(4, times), RATE, fps)
    assert len(speed) == round(4 * fps)
    assert (speed >= 0).all()
    before = torch.tensor([max(0, round(time * fps) - 3) for time in times])
    assert torch.stack([speed[k : k + 6].argmax() for k in before]).sub(3).abs().max() <= 1
    assert speed[: int(0.6 * fps)].max() == 0


def test_without_onsets_a_film_is_as_fast_as_the_sound_is_loud():
    swell = np.linspace(0.1, 1, 4 * RATE) * click_track(4, [], bass=0.9)
    speed = speed_of_sound(swell.astype(np.float32), RATE, 10)
    assert_close(speed[1:], torch.linspace(0.1, 1, 40)[1:].double(), rtol=0.2, atol=0.02)
