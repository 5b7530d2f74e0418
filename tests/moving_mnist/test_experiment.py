import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.moving_mnist.data import draw_parameters
from agents.moving_mnist.experiment import (
    DigitSource,
    Sequences,
    build_network,
    forecast_last,
    forecast_zero,
    measure_errors,
    squared_error,
)
from agents.moving_mnist.files import read_mnist, read_official
from agents.moving_mnist.rendering import render
from agents.moving_mnist.results import PAPER, Result, read_results
from agents.moving_mnist.training import DigitConfig, make_optimisation
from agents.networks.registry import DIGIT_NETWORKS
from tests.helpers.digits import BLOTS

COUNTS = {  # parameters; Shi et al. 2017, Table 1, with its misprints corrected
    "convgru-K3D2": 2_604_817,
    "convgru-K5D1": 4_767_505,
    "convgru-K7D1": 8_011_537,
    "trajgru-L5": 2_842_157,
    "trajgru-L9": 3_421_277,
    "trajgru-L13": 4_000_397,
    "trajgru-L17": 4_579_517,
    "dfn": 4_825_648,
    "conv2d": 59_061_250,
    "conv3d": 66_081_921,
}
pytestmark = pytest.mark.usefixtures("one_thread")


def optimisation(model, **given):
    return make_optimisation(model, DigitConfig(**given))


def test_the_ten_networks_of_table_1():
    assert set(DIGIT_NETWORKS) == set(COUNTS) == set(PAPER)
    for model, count in COUNTS.items():
        net = build_network(model, None, device="meta")
        assert sum(parameter.numel() for parameter in net.parameters()) == count, model


def test_the_schedules():
    paper, short = (optimisation("trajgru-L13", schedule=name) for name in ("paper", "short"))
    assert (paper.steps, paper.decay_every, paper.clip_norm, paper.rate) == (200_000, 20_000, 10, 1e-4)
    assert paper.rate_at(199_999) == pytest.approx(1e-4 * 0.7**9)
    assert (short.steps, short.decay_every) == (40_000, 4_000)
    cnn = optimisation("conv2d")
    assert (cnn.steps, cnn.decay_every, cnn.clip_norm) == (100_000, 20_000, 50)
    assert optimisation("dfn", steps=300).decay_every == 30
    assert optimisation("dfn", steps=3, decay_every=7).decay_every == 7
    assert [DIGIT_NETWORKS[model].batch for model in ("dfn", "conv3d")] == [4, 32]


def test_batches_are_the_stream_of_the_seed():
    """In whatever order batches are asked for; the rotation is the one that is given."""
    source = DigitSource(BLOTS, 3, seed=5, rotation=15.0)
    wanted = render(BLOTS, draw_parameters(5, 9, 3, pool=40, rotation=15.0))
    assert torch.equal(source.batch(9).frames, wanted)
    assert torch.equal(source.batch(9).frames, wanted)
    assert not torch.equal(DigitSource(BLOTS, 3, seed=6, rotation=15.0).batch(9).frames, wanted)


def test_the_loss_is_of_pixels_that_are_not_clipped():
    frames = torch.full((2, 20, 64, 64), 1.5)
    assert float(squared_error(lambda inputs: inputs + 1, Sequences(frames))) == 1
    assert float(squared_error(forecast_zero, Sequences(frames))) == 2.25


def test_the_first_official_sequences_give_the_reference_figures(shared):
    """Of 500 of those in test_official_digits.py; the slow rendering gives them to 2e-8 of their value."""
    images, parameters = read_mnist(shared / "mnist"), read_official(shared / "mnist")[:500]
    for forecast, wanted in ((forecast_zero, 3.831168), (forecast_last, 9.484152)):
        assert 100 * measure_errors(forecast, images, parameters).mean() == pytest.approx(wanted, rel=1e-4)


def test_no_sequence_in_a_batch_is_refused():
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        measure_errors(forecast_zero, BLOTS, draw_parameters(0, 0, 1, pool=40), batch=0)


def test_results_of_other_digits_and_other_files_are_refused(tmp_path):
    one = Result("zero", "some", [0.1] * 10, [0.1])
    one.write(tmp_path / "a")
    replace(one, digits="other").write(tmp_path / "b")
    with pytest.raises(ValueError, match="different copies of MNIST"):
        read_results(tmp_path)
    path = one.write(tmp_path / "b")
    assert read_results(tmp_path) == [one, one]
    for text in ("{", "[]", "{}", json.dumps(json.loads(path.read_text()) | {"model": "me"})):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"test-1.json is not a result of this hko7env .*: test again"):
            read_results(tmp_path)


def test_a_result_summarises_errors():
    errors = np.arange(20.0).reshape(2, 10)
    result = Result.summarise("last", errors, "some")
    assert (result.errors, result.leads[0], result.mse) == ([4.5, 14.5], 5.0, 9.5)
