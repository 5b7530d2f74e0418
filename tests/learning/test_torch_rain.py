"""Rain made on the training device: the same weather as the archives', in distribution."""

import numpy as np
import pytest
import torch

from agents.learning.torch_rain import TorchRain
from hko7env.archive.hko7_facts import PIXEL_KM as KM
from hko7env.synthetic import rain
from hko7env.synthetic.process import HONG_KONG

SHAPE = (96, 128)


def test_a_batch_is_a_function_of_seed_and_step():
    one, same, other = (TorchRain(SHAPE, 5, 2, seed=s) for s in (1, 1, 2))
    frames, present, scored = one.batch(3)
    assert frames.shape == (2, 5, *SHAPE)
    assert frames.dtype == torch.uint8
    assert present.all()
    assert scored.shape == SHAPE
    one.batch(0)
    torch.testing.assert_close(one.batch(3)[0], frames)
    torch.testing.assert_close(same.batch(3)[0], frames)
    assert (one.batch(4)[0] != frames).any()
    assert (other.batch(3)[0] != frames).any()
    assert (frames[0] != frames[1]).any()


def statistics(latents):
    """Variance by band of wavelength, and of the change in a step, of (B, T, H, W) latent values."""
    spectrum = np.abs(np.fft.rfft2(latents)) ** 2
    k = np.hypot(np.fft.fftfreq(latents.shape[2], KM)[:, None], np.fft.rfftfreq(latents.shape[3], KM)[None])
    bands = [
        spectrum[..., (k > low) & (k <= high)].sum((0, 1, 2)) for low, high in ((0, 0.03), (0.03, 0.1), (0.1, 0.3))
    ]
    return np.array([*bands, 1e6 * np.mean((latents[:, 1:] - latents[:, :-1]) ** 2)])


def test_its_weather_is_that_of_the_archives(monkeypatch):
    """Spectrum, change from step to step and latent variance, over 40 sequences each."""
    caught = []
    monkeypatch.setattr(TorchRain, "_observe", lambda self, field, random: caught.append(field) or field)
    batch = TorchRain(SHAPE, 6, 40, seed=5).batch(0)[0]
    ours = statistics(batch.numpy())
    draws = np.random.default_rng(1).normal(0, HONG_KONG.between, 40)
    archive = np.array(
        [
            [m.latent for m in rain.latent(SHAPE, 6, cadence=6, start=0, key=(5, e), mean=mean)]
            for e, mean in enumerate(draws)
        ]
    )
    np.testing.assert_allclose(ours, statistics(archive), rtol=0.25)
    assert batch.std().item() == pytest.approx(archive.std(), rel=0.2)


def test_the_radar_sees_clutter_and_no_drizzle_of_rain():
    generator = TorchRain(SHAPE, 2, 3, seed=5)
    frames, _, scored = generator.batch(0)
    outliers = torch.from_numpy(generator._radar.mask == 1)
    assert (frames[:, :, outliers] > 0).float().mean() > 0.8
    assert (frames[:, :, torch.from_numpy(generator._radar.mask == 2)] == 0).all()
    far = scored & torch.from_numpy(generator._radar.radius > 40)
    assert not ((frames[:, :, far] > 0) & (frames[:, :, far] < 71)).any()


@pytest.mark.gpu
def test_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    frames, _, _ = TorchRain(SHAPE, 5, 4, seed=1, device="cuda").batch(0)
    assert frames.is_cuda
    assert (frames > 0).any()
