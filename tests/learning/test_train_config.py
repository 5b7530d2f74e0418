import dataclasses

import pytest

from agents.learning.network_agent import Config
from agents.learning.train_config import Optimisation, TrainConfig, stored_names
from hko7env.options import options_of

# What checkpoints store: training folders and weights of earlier versions have these names.
STORED = (
    "balanced batch clip crop decay decay_every draws ema floor generate lead_power link_rate memory precision rate "
    "seed split spread valid valid_limit"
)


def test_checkpoints_store_options_by_the_names_they_have_always_had():
    given = {"update_gate_bias": 2.0, "link_spacing": 1.5, "rain_candidates": 3, "weight_averaging": 0.9, "crop": 60}
    stored = TrainConfig(**given, lead_weighting=1.0, link_rate_share=0.1, rate_floor=1e-7, clip_norm=5.0).metadata()
    assert sorted(stored) == STORED.split()
    assert stored | {
        "memory": 2.0, "spread": 1.5, "draws": 3, "ema": 0.9, "lead_power": 1.0, "link_rate": 0.1, "floor": 1e-7,
        "clip": 5.0, "generate": None, "crop": 60,
    } == stored  # fmt: skip
    assert Optimisation().metadata().items() <= TrainConfig().metadata().items()


def test_variations_are_stored_where_they_are_used():
    assert "varied" not in TrainConfig().metadata()
    assert TrainConfig(varied=True).metadata()["varied"] is True
    with pytest.raises(ValueError, match="flow_net always learns from varied windows"):
        TrainConfig.for_model("flow_net", {"varied": False})


def test_what_is_not_stored_may_change_when_a_training_goes_on():
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    steering = "steps valid_every patience save_seconds size checkpoint resident device compile graph fused threads out"
    assert fields - stored_names(TrainConfig).keys() == set(steering.split())


def test_a_share_of_synthetic_rain_is_stored_where_it_is_used():
    assert "synthetic_rows" not in TrainConfig(synthetic_size=60).metadata()
    mixed = TrainConfig(synthetic_size=60, synthetic_rows=1, split="valid", rain_candidates=2, varied=True, crop=60)
    assert mixed.metadata()["synthetic_rows"] == 1


@pytest.mark.parametrize("config", [TrainConfig, Config])
def test_every_option_says_what_it_does(config):
    for option in options_of(config):
        assert len(option.help) > 10, option.name
        assert "--" not in option.help, option.name


@pytest.mark.parametrize(
    "given, names",
    [
        ({"synthetic_size": 60, "split": "valid"}, ("synthetic_size", "split")),
        ({"synthetic_size": 60, "varied": True}, ("synthetic_size", "varied")),
        ({"synthetic_size": 60, "crop": 30}, ("synthetic_size", "crop")),
        ({"synthetic_size": 60, "rain_candidates": 2}, ("synthetic_size", "rain_candidates")),
        ({"synthetic_size": 60, "resident": True}, ("synthetic_size", "resident")),
        ({"schedule": "one-cycle", "decay": 0.5}, ("schedule one-cycle", "decay")),
        ({"schedule": "one-cycle", "rate_floor": 0.0}, ("schedule one-cycle", "rate_floor")),
        ({"valid": "none", "patience": 2}, ("valid none", "patience")),
        ({"valid": "none", "valid_limit": 2}, ("valid none", "valid_limit")),
    ],
)
def test_options_that_do_not_go_together_are_named(given, names):
    with pytest.raises(ValueError, match=f"^{names[0]} and {names[1]} do not go together"):
        TrainConfig(**given)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"synthetic_size": 0}, "synthetic_size must be at least 1, got 0"),
        ({"valid_limit": 0}, "valid_limit must be at least 1, got 0"),
        ({"weight_averaging": 1.0}, "weight_averaging must be at least 0 and below 1"),
        ({"link_rate_share": -1.0}, "link_rate_share must be at least 0"),
        ({"rate": float("nan")}, "rate must be at least 0"),
        ({"synthetic_rows": 1}, "synthetic_rows needs synthetic_size"),
        ({"synthetic_rows": 4, "synthetic_size": 60}, "at least 1 and below the batch of 4, got 4"),
        ({"synthetic_rows": 1, "synthetic_size": 60, "crop": 30}, "got synthetic_size 60 and crop 30: leave crop out"),
    ],
)
def test_a_value_out_of_range_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**given)


@pytest.mark.parametrize("model, steps, batch", [("conv3d", 80_000, 8), ("convgru", 100_000, 4)])
def test_the_defaults_are_those_of_the_released_code(model, steps, batch):
    config = TrainConfig.for_model(model, {})
    assert (config.steps, config.batch) == (steps, batch)
    assert TrainConfig.for_model(model, {"steps": 3, "batch": 2}) == dataclasses.replace(config, steps=3, batch=2)
    with pytest.raises(ValueError, match="did you mean 'trajgru'"):
        TrainConfig.for_model("trajgr", {})
