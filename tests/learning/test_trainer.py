import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.learning.batch import Batch
from agents.learning.checkpoint import CheckpointError, read, write
from agents.learning.loss import forecast_error, rain_loss
from agents.learning.train_config import Optimisation
from agents.learning.trainer import Trainer
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import make_network
from tests.helpers.training import SOME, Noise, content, equal, log, tiny_network, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_stopped_training_goes_on_bit_by_bit(tmp_path, decay):
    whole = tiny_trainer(tmp_path / "whole", weight_averaging=decay)
    assert whole.run()
    for part in range(1, 4):
        asked = itertools.count()
        done = tiny_trainer(tmp_path / "parts", weight_averaging=decay).run(lambda count=asked: next(count) == 2)
        assert done == (part == 3)
    for name in ("last", "best"):
        files = [tmp_path / folder / f"{name}.safetensors" for folder in ("whole", "parts")]
        assert equal(*(content(path) for path in files))
    logs = [[(row["step"], row["loss"], row["rate"]) for row in log(tmp_path / f)] for f in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert [step for step, _, _ in logs[0]] == [*"123456"]
    again = tiny_trainer(tmp_path / "other", seed=4, weight_averaging=decay)
    again.run()
    assert not equal(content(tmp_path / "other/best.safetensors"), content(files[0]))


def test_the_average_of_the_weights_is_what_is_validated_and_kept(tmp_path):
    """By hand: of the average a step leaves 1/10, 2/11, 3/12, and from then on 0.3."""
    judged, raw = [], []
    one = tiny_trainer(tmp_path, weight_averaging=0.3, steps=6, valid_every=6)

    def weights():
        return one.net.state_dict()["encoder.econv1.weight"].clone()

    one.validate = lambda: judged.append(weights()) or 1.0
    mean = weights()
    assert one.run(lambda: raw.append(weights()))
    raw.append(weights())
    for after, left in zip(raw[1:], (1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3), strict=True):
        mean = left * mean + (1 - left) * after
    torch.testing.assert_close(judged[0], mean, rtol=1e-5, atol=1e-7)
    assert not torch.equal(raw[-1], judged[0])
    best, last = (content(tmp_path / f"{name}.safetensors")["net.encoder.econv1.weight"] for name in ("best", "last"))
    assert torch.equal(best, judged[0])
    assert torch.equal(last, raw[-1])


def test_rows_of_steps_that_were_lost_are_written_once(tmp_path):
    first = tiny_trainer(tmp_path, steps=4)
    first.run()
    with (tmp_path / "log.csv").open("a") as file:
        file.write("5,9,9,9,\n6,9,9,9,\n")
    tiny_trainer(tmp_path, steps=8).run()
    rows = log(tmp_path)
    assert [row["step"] for row in rows] == [*"12345678"]
    assert "9" not in {row["loss"] for row in rows}


def test_the_step_is_adam_on_clipped_parts(tmp_path):
    one = tiny_trainer(tmp_path, steps=2, clip_norm=1e-3, decay_every=1, decay=0.5)
    by_hand, source = tiny_network(), Noise()
    adam = torch.optim.Adam(by_hand.parameters(), betas=(0.5, 0.999))
    for step in range(2):
        frames = torch.from_numpy(source.batch(step).frames)
        adam.zero_grad()
        mask = (frames[:, 5:] == 0) | (frames[:, 5:] >= 71)
        (1e-5 * forecast_error(by_hand(frames[:, :5] / 255), frames[:, 5:], mask)).backward()
        for part in by_hand.parts():
            norm = torch.stack([p.grad.norm() for p in part]).norm()
            for p in part:
                p.grad *= min(1, 1e-3 / float(norm + 1e-6))
        adam.param_groups[0]["lr"] = 1e-4 * 0.5**step
        adam.step()
    one.run()
    for p, q in zip(one.net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_a_cnn_descends_the_sum_over_leads(tmp_path):
    """At the same weights the gradient is 100 times that of the recurrent networks' loss."""
    made = make_network(narrow_table(TABLES["hko7 conv2d"], (2,)), 5, 20, seed=3)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 25, 120, 120), dtype=np.uint8))
    batch = Batch(frames, torch.ones(2, 25, dtype=torch.bool), torch.ones(120, 120, dtype=torch.bool))
    mask = (frames[:, 5:] == 0) | (frames[:, 5:] >= 71)
    descended = rain_loss(made, SOME)(made, batch)
    recurrent = 1e-5 * forecast_error(made(frames[:, :5] / 255), frames[:, 5:], mask)
    norms = [
        torch.stack([g.norm() for g in torch.autograd.grad(value, list(made.parameters()))]).norm()
        for value in (descended, recurrent)
    ]
    assert float(norms[0]) == pytest.approx(100 * float(norms[1]), rel=1e-4)


def test_the_rate_falls_to_its_floor():
    shape = Optimisation(steps=10, rate=1e-4, decay_every=20_000)
    assert shape.rate_at(19_999) == 1e-4
    assert shape.rate_at(20_000) == pytest.approx(7e-5)
    assert shape.rate_at(10**6) == 1e-6
    assert Optimisation(rate=0.0).rate_at(5) == 0
    for wrong in ({"steps": 0}, {"decay_every": 0}, {"rate": -1.0}, {"clip_norm": float("nan")}):
        with pytest.raises(ValueError, match="must be at least"):
            Optimisation(**wrong)


def test_the_best_is_kept_and_patience_ends_it(tmp_path):
    scores = iter([5.0, 3.0, 4.0, 4.0, 1.0])
    one = tiny_trainer(tmp_path, validate=lambda: next(scores), steps=20, patience=2)
    assert one.run()
    assert (one.step, one.best) == (8, 3.0)
    _, metadata = read(tmp_path / "best.safetensors")
    assert (metadata["step"], metadata["score"]) == (4, 3.0)
    valid = [row["valid"] for row in log(tmp_path)]
    assert valid == ["", "5.0", "", "3.0", "", "4.0", "", "4.0"]
    again = tiny_trainer(tmp_path, validate=lambda: 9.0, steps=20, patience=2)
    assert again.run()
    assert again.step == 8, "patience is remembered"


def test_other_settings_are_another_training(tmp_path):
    tiny_trainer(tmp_path, steps=1, metadata={"seed": 1}).run()
    tiny_trainer(tmp_path, steps=2, metadata={"seed": 1}, save_seconds=3.0).run()
    with pytest.raises(ValueError, match=r"seed 1, not 2: give the same options .* or choose another folder"):
        tiny_trainer(tmp_path, metadata={"seed": 2})
    with pytest.raises(ValueError, match=r"rate 0.0001, not 0.1"):
        tiny_trainer(tmp_path, metadata={"seed": 1}, rate=0.1)


class Pictures(NamedTuple):
    frames: np.ndarray


def test_any_batches_and_loss_go_through_the_loop(tmp_path):
    """As for MovingMNIST++: float frames that no mask and no table of rain belongs to."""

    class Source:
        def batch(self, step):
            return Pictures(np.random.default_rng(step).random((2, 25, 30, 30), dtype=np.float32))

    def loss(forward, batch):
        return (forward(batch.frames[:, :5]) - batch.frames[:, 5:]).square().mean()

    one = Trainer(tiny_network(), Source(), loss, Optimisation(steps=3, clip_norm=10.0), tmp_path, {})
    assert one.run()
    assert (tmp_path / "best.safetensors").exists()


def test_no_memory_is_said(tmp_path):
    one = tiny_trainer(tmp_path)

    def exhausted(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    one.loss = exhausted
    with pytest.raises(MemoryError, match="choose a smaller batch"):
        one.run()


def test_a_training_of_the_former_version_goes_on(tmp_path):
    """Its folder holds metadata by the names that options had then."""
    tiny_trainer(tmp_path / "whole", steps=4, weight_averaging=0.5).run()
    tiny_trainer(tmp_path / "former", steps=2, weight_averaging=0.5).run()
    tensors, _ = read(tmp_path / "former/last.safetensors")
    former = {
        "kind": "training", "rate": 1e-4, "link_rate": 1.0, "decay": 0.7, "decay_every": 20000, "floor": 1e-6,
        "clip": 50.0, "ema": 0.5, "step": 2, "score": None, "waited": 0, "seconds": 1.5,
    }  # fmt: skip
    write(tmp_path / "former/last.safetensors", tensors, former)
    assert tiny_trainer(tmp_path / "former", steps=4, weight_averaging=0.5).run()
    assert equal(*(content(tmp_path / folder / "last.safetensors") for folder in ("whole", "former")))
    write(tmp_path / "former/last.safetensors", tensors, former | {"ema": 0.9})
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors is of a training with ema 0\.9, not 0\.5: give the same"
    ):
        tiny_trainer(tmp_path / "former", weight_averaging=0.5)


def test_a_rate_of_links_needs_links(tmp_path):
    with pytest.raises(ValueError, match="link_rate_share applies to layers with links"):
        tiny_trainer(tmp_path, link_rate_share=0.5)
