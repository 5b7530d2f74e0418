"""The training of the network that corrects advected frames: its loss, its folder, and that it goes on exactly."""

import numpy as np
import pytest
import torch

from agents.learning.flow_training import ERROR_WEIGHT, EVENT_WEIGHTS, CorrectedError
from agents.learning.radar_training import make_trainer
from agents.learning.train_config import TrainConfig
from agents.networks.flow_net import FLOW_NET, Corrected
from hko7env.archive import Archive
from hko7env.units import HKO7, ZR
from tests.helpers.training import content, equal, log

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return Archive(str(ninety_archive))


def trainer(archive, out, **options):
    given = {"steps": 4, "batch": 2, "crop": 64, "valid_every": 2, "out": out, "device": "cpu", **options}
    return make_trainer(FLOW_NET, [(archive, 1.0)], TrainConfig.for_model(FLOW_NET, given))


def test_the_error_is_that_of_a_count_by_hand():
    truth = torch.tensor([[[0, 150, 60, 255]]], dtype=torch.uint8)
    mask = torch.tensor([[[True, True, False, True]]])
    pixels = torch.tensor([[[0.1, 150 / 255, 0.9, 0.8]]])
    logits = torch.tensor([-4.0, -2.0, 0.0, 1.0, 2.0])[None, :, None, None].expand(1, 5, 1, 4)
    balanced = (0.1**2 + 0.1) * 1 + 0 + (0.2**2 + 0.2) * 30  # 255 is 60 dBZ, above 30 mm/h
    chance = 1 / (1 + np.exp(-np.array([-4.0, -2.0, 0.0, 1.0, 2.0])))
    reached = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    surprise = -(np.log(chance) * reached + np.log(1 - chance) * (1 - reached)) @ np.array(EVENT_WEIGHTS)
    wanted = (ERROR_WEIGHT * balanced + surprise.sum()) / 3
    found = CorrectedError(HKO7, torch.device("cpu"))(Corrected(pixels, logits), truth, mask)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_nothing_scored_is_no_error():
    nothing = torch.zeros(1, 2, 2, dtype=torch.bool)
    some = Corrected(torch.full((1, 2, 2), torch.inf), torch.zeros(1, 5, 2, 2))
    assert float(CorrectedError(HKO7, torch.device("cpu"))(some, nothing.byte(), nothing)) == 0


def test_a_training_that_is_stopped_ends_with_the_same_weights(archive, tmp_path):
    assert trainer(archive, tmp_path / "whole").run()
    stopped = iter([False, False, False, True])
    assert not trainer(archive, tmp_path / "parts").run(lambda: next(stopped))
    assert trainer(archive, tmp_path / "parts").run()
    for name in ("last.safetensors", "best.safetensors"):
        assert equal(content(tmp_path / "whole" / name), content(tmp_path / "parts" / name)), name
    assert [row["valid"] for row in log(tmp_path / "whole")] == [row["valid"] for row in log(tmp_path / "parts")]
    assert [row["step"] for row in log(tmp_path / "whole") if row["valid"]] == ["2", "4"]


def test_a_training_learns_a_batch_by_heart(archive, tmp_path):
    one = trainer(archive, tmp_path, steps=40, batch=1, rate=5e-3, valid="none", weight_averaging=0.0)
    batch = max((one.source.batch(step) for step in range(6)), key=lambda batch: np.sum(batch.truth >= 130))
    one.source.batch = lambda step: batch
    assert one.run()
    losses = [float(row["loss"]) for row in log(tmp_path)]
    assert losses[-1] < 0.8 * losses[0]


def test_options_that_say_nothing_here_are_refused(archive, tmp_path):
    for option in ({"rain_candidates": 3}, {"update_gate_bias": 1.0}, {"link_spacing": 2.0}, {"lead_weighting": 1.0}):
        with pytest.raises(ValueError, match=rf"flow_net and {next(iter(option))} do not go together"):
            trainer(archive, tmp_path, **option)


def test_archives_of_two_relations_are_refused(archive, tmp_path, monkeypatch):
    other = Archive(str(archive.name))
    monkeypatch.setattr(other, "zr", ZR(200.0, 1.6))
    config = TrainConfig.for_model(FLOW_NET, {"out": tmp_path, "crop": 64})
    with pytest.raises(ValueError, match="different relations"):
        make_trainer(FLOW_NET, [(archive, 1.0), (other, 1.0)], config)


def test_an_archive_without_the_validation_split_is_not_validated_on(archive, tmp_path):
    with pytest.raises(ValueError, match="no archive has a split 'nights' to validate on"):
        trainer(archive, tmp_path, valid="nights")
    assert trainer(archive, tmp_path, steps=1, valid="none").run()
