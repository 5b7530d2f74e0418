import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.calibrated_flow import Config, make
from agents.calibration import prior
from agents.calibration.counting import settings
from agents.calibration.features import BINS
from agents.learning import checkpoint
from hko7env.contract import OptionError
from hko7env.testing import task
from hko7env.units import HKO7, ZR

ROOT = Path(__file__).resolve().parents[2]


def test_a_prior_stands_for_minutes_not_steps():
    counts = np.zeros((prior.LEADS, BINS, 6), np.float32)
    counts[:, 0, 0] = np.arange(prior.LEADS)
    one = prior.Prior(counts, np.zeros(6, np.float32), HKO7, {})
    np.testing.assert_allclose(one.at(20, 6)[:, 0, 0], np.arange(20))
    np.testing.assert_allclose(one.at(4, 12)[:, 0, 0], [1, 3, 5, 7])
    np.testing.assert_allclose(one.at(4, 5)[:, 0, 0], [0, 2 / 3, 1.5, 7 / 3], rtol=1e-6)


def test_outside_the_prior_the_nearest_lead_time_counts_and_a_far_cadence_is_refused():
    counts = np.zeros((prior.LEADS, BINS, 6), np.float32)
    counts[:, 0, 0] = np.arange(prior.LEADS)
    one = prior.Prior(counts, np.zeros(6, np.float32), HKO7, {})
    np.testing.assert_allclose(one.at(4, 2)[:, 0, 0], [0, 0, 0, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(one.at(6, 30)[:, 0, 0], [4, 9, 14, 19, 19, 19])
    with pytest.raises(OptionError, match="at most 30 minutes apart, and these are 31"):
        one.at(20, 31)
    with pytest.raises(OptionError, match="shorter cadence"):
        make(task(32, 32, cadence=60), Config())


def written(path, zr=HKO7, bins=BINS):
    counts = np.ones((prior.LEADS, bins, 6), np.float32)
    prior.write(path, counts, np.linspace(0, 1, 6, dtype=np.float32), zr, {})
    return path


def test_a_prior_that_cannot_serve_is_refused_with_the_remedy(tmp_path):
    some = task(32, 32)
    sound = written(tmp_path / "sound.safetensors")
    make(some, Config(prior=(sound)))
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray(sound.read_bytes())
    data[-100] ^= 1
    damaged.write_bytes(data)
    foreign = tmp_path / "foreign.safetensors"
    checkpoint.write(foreign, {"counts": torch.zeros(2)}, {"kind": "network"})
    cases = [
        (damaged, "damaged"),
        (written(tmp_path / "zr.safetensors", zr=ZR(200.0, 1.6)), r"Z = 200 R\^1\.6 and this archive has Z = 58\.53"),
        (written(tmp_path / "bins.safetensors", bins=8), "no prior of this agent's features"),
        (foreign, "no prior of this agent's features"),
    ]
    for path, message in cases:
        with pytest.raises(OptionError, match=rf"(?s)({message}).*hko7env calibrate"):
            make(some, Config(prior=(path)))
    with pytest.raises(OptionError, match=r"nowhere\.safetensors"):
        make(some, Config(prior=(tmp_path / "nowhere.safetensors")))


def test_the_shipped_prior_is_the_one_on_the_card_and_left_the_transfer_archives_out():
    made = prior.read(prior.SHIPPED, HKO7)
    card = (ROOT / "docs" / "calibrated-flow.md").read_text(encoding="utf-8")
    digest = hashlib.sha256(prior.SHIPPED.read_bytes()).hexdigest()
    assert digest in card
    assert prior.SHIPPED.stat().st_size < 500_000
    sources = " ".join(one["source"] for one in made.metadata["archives"])
    assert not re.search("CASCM|Finnish|Netherlands", sources)
    assert {one["split"] for one in made.metadata["archives"]} == {"train"}


def test_the_shipped_prior_was_counted_with_the_present_settings():
    made = prior.read(prior.SHIPPED, HKO7)
    assert made.metadata["settings"] == json.loads(json.dumps(settings()))
