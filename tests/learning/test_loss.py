import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.learning.loss import forecast_error, window_loss
from agents.networks.cnn import CNN
from agents.networks.encoder_forecaster import EncoderForecaster
from hko7env.scores import averages, scored, tally
from hko7env.testing import task
from hko7env.units import HKO7, ZR


def frames(seed, batch, leads, height, width):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (batch, leads, height, width), dtype=np.uint8)
    mask = scored(truth, rng.random((height, width)) < 0.7)
    return truth, mask, rng.random(truth.shape, dtype=np.float32)


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.booleans())
@settings(max_examples=40)
def test_loss_is_the_score(seed, batch, leads, size, other):
    zr = ZR(200.0, 1.6) if other else HKO7
    truth, mask, forecast = frames(seed, batch, leads, size, size + 1)
    total = sum(
        (tally(truth[b], mask[b], forecast[b], zr=zr) for b in range(1, batch)),
        tally(truth[0], mask[0], forecast[0], zr=zr),
    )
    score = averages(total)
    given = torch.tensor(forecast), torch.tensor(truth), torch.tensor(mask), zr
    assert float(forecast_error(*given)) == pytest.approx((score["b_mse"] + score["b_mae"]), rel=1e-4)
    assert float(forecast_error(*given, balanced=False)) == pytest.approx((score["mse"] + score["mae"]), rel=1e-4)


def test_one_pixel_by_hand():
    forecast = torch.tensor([[[[1.5, -0.5]]]])  # outside [0, 1]: not clipped
    truth = torch.tensor([[[[255, 0]]]], dtype=torch.uint8)  # weights 30 and 1
    everywhere = torch.ones_like(truth, dtype=torch.bool)
    assert float(forecast_error(forecast, truth, everywhere)) == pytest.approx(31 * (0.25 + 0.5))
    assert float(forecast_error(forecast, truth, everywhere, balanced=False)) == pytest.approx(2 * (0.25 + 0.5))


def test_leads_weigh_by_hand():
    """Leads 1 and 2 weigh 1 and 1/2, relative to their mean 3/4; a perfect lead has no error to weigh."""
    truth, everywhere = torch.zeros(1, 2, 1, 1, dtype=torch.uint8), torch.ones(1, 2, 1, 1, dtype=torch.bool)
    for k, weight in ((0, 4 / 3), (1, 2 / 3)):
        forecast = torch.zeros(1, 2, 1, 1)
        forecast[0, k] = 0.5
        alone = forecast_error(forecast, truth, everywhere)
        assert float(forecast_error(forecast, truth, everywhere, lead_weighting=1)) == pytest.approx(
            weight * float(alone)
        )


def test_the_loss_of_a_cnn_is_a_sum_over_leads_by_hand():
    """Two windows of two leads: errors 0.5 and 1 of the first, 0.5 twice of the second, each with its square."""
    forecast = torch.tensor([[[[0.5]], [[1.0]]], [[[0.5]], [[0.5]]]])
    truth, everywhere = torch.zeros(2, 2, 1, 1, dtype=torch.uint8), torch.ones(2, 2, 1, 1, dtype=torch.bool)
    half, whole = 0.5 + 0.25, 1.0 + 1.0
    for balanced in (True, False):  # one scale for both; a dry pixel weighs 1
        value = float(forecast_error(forecast, truth, everywhere, balanced=balanced, sums_leads=True))
        assert value == pytest.approx((half + whole + half + half) / 2)


def test_over_twenty_leads_it_is_a_hundred_times_that_of_a_recurrent_network():
    """The released code scales B-MSE + B-MAE by 1e-5, MSE + MAE by 5e-5, and both by 5e-5 where leads are summed."""
    some = task(6, 5)
    levels, _, forecast = (torch.tensor(a) for a in frames(0, 2, 25, 6, 5))
    present, static = torch.ones(2, 25, dtype=torch.bool), torch.tensor(some.scored)
    mask = scored(levels[:, 5:], static)
    for balanced, scale, times in ((True, 1e-5, 100), (False, 5e-5, 20)):
        recurrent, cnn = (
            float(window_loss(kind, lambda _: forecast[:, 5:], levels, present, static, some, balanced=balanced))
            for kind in (EncoderForecaster, CNN)
        )
        error = float(forecast_error(forecast[:, 5:], levels[:, 5:], mask, balanced=balanced))
        assert recurrent == pytest.approx(scale * error, rel=1e-5)
        assert cnn == pytest.approx(times * recurrent, rel=1e-5)


def test_gradient_by_hand_and_none_where_masked():
    forecast = torch.tensor([[[[0.75, float("inf"), 0.5]]]], requires_grad=True)
    truth = torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8)
    forecast_error(forecast, truth, torch.tensor([[[[True, False, True]]]])).backward()
    np.testing.assert_allclose(forecast.grad.flatten(), [30 * (-2 * 0.25 - 1), 0, 2], rtol=1e-6)


def test_what_does_not_fit_is_refused():
    truth, mask, forecast = (torch.tensor(a) for a in frames(0, 2, 3, 4, 5))
    with pytest.raises(ValueError, match="of one shape"):
        forecast_error(forecast, truth[:1], mask)
    with pytest.raises(ValueError, match="of one shape"):
        forecast_error(forecast, truth, mask[0, 0])
    with pytest.raises(ValueError, match="uint8 levels"):
        forecast_error(forecast, truth / 255, mask)
    with pytest.raises(ValueError, match="mask bool"):
        forecast_error(forecast, truth, mask.float())
