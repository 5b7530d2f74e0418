import csv
import importlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hko7env
from agents.learning.archive_sampler import MIDDLE, WINDOW, Windows
from agents.learning.checkpoint import digest, read, under
from agents.learning.loss import loss
from agents.learning.trainer import Batch, Ranks, Settings, Trainer, prefetched
from agents.learning.validation import Validation, rain_loss
from agents.networks.encoder_forecaster import network
from agents.networks.paper_tables import TABLES, narrowed
from agents.networks.registry import SMALL_LINKS, shipped
from hko7env.archive import Archive
from hko7env.loading import load
from hko7env.schedule import schedule, valid_starts
from hko7env.scores import scored
from hko7env.synthetic import EpisodeSpec, make
from hko7env.testing import task

ROOT = Path(__file__).resolve().parent.parent
SOME = task(60, 60)
TINY = narrowed(TABLES["hko7 convgru"], (2, 2, 3, 3))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """90 x 90 synthetic rain with splits train, valid and test."""
    path = tmp_path_factory.mktemp("archives") / "ninety.zarr"
    weather = (
        EpisodeSpec("train", "2013-06-10T00:00", 60, missing=(9, 30, 31, 32)),
        EpisodeSpec("valid", "2014-05-20T00:00", 40),
        EpisodeSpec("test", "2015-05-20T00:00", 35),
    )
    make(path, shape=(90, 90), weather=weather)
    return path


def net(seed=3):
    return network(TINY, 5, 20, seed=seed)


class Noise:
    """A source of windows that needs no archive."""

    def __init__(self, rows=range(2), delay=0.0):
        self.rows, self.delay, self.asked = rows, delay, []

    def batch(self, step):
        self.asked.append(step)
        time.sleep(self.delay)
        random = [np.random.default_rng([step, row]) for row in self.rows]
        frames = np.stack([r.integers(0, 256, (25, 30, 30), dtype=np.uint8) for r in random])
        return Batch(frames, np.ones(frames.shape[:2], bool), np.ones((len(frames), 30, 30), bool))


def trainer(out, source=None, validate=None, seed=3, facts=None, **options):
    options = {"steps": 6, "valid_every": 2, **options}
    loss = rain_loss(SOME, balanced=True)
    return Trainer(net(seed), source or Noise(), loss, Settings(**options), out, facts or {}, validate=validate)


def content(path):
    """Tensors of the checkpoint ``path``."""
    return read(path)[0]


def log(folder):
    """Rows of the log, by column."""
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def equal(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- windows


@given(st.lists(st.booleans(), min_size=1, max_size=120))
@settings(max_examples=60)
def test_windows_begin_where_a_walk_from_there_would(there):
    times = 6 * np.flatnonzero(there).astype(np.int64)
    for t in times:
        onward = schedule(times[times >= t])
        first = len(onward) > 0 and onward.starts[0] == t
        assert (t in valid_starts(times, 6)) == first


def test_windows_are_the_archives_frames_at_aligned_corners(archive):
    opened = Archive(str(archive))
    source = Windows(opened, "train", range(3), seed=1, crop=60, stride=30)
    frames, present, static = source.batch(4)
    assert frames.shape == (3, WINDOW, 60, 60)
    assert frames.dtype == np.uint8
    corners = set()
    times = opened.select("train")
    whole = dict(zip(times, opened.at(times)[0], strict=True))
    for b, (y, x) in itertools.product(range(3), itertools.product((0, 30), repeat=2)):
        for start in source.starts:
            slots = start + 6 * np.arange(WINDOW)
            here = [whole[t][y : y + 60, x : x + 60] if t in whole else np.zeros((60, 60)) for t in slots]
            if np.array_equal(frames[b], here):
                assert np.array_equal(present[b], [t in whole for t in slots])
                assert np.array_equal(static[b], opened.scored[y : y + 60, x : x + 60])
                corners.add((b, y, x))
    assert {b for b, _, _ in corners} == {0, 1, 2}


def test_a_row_depends_on_seed_step_and_row_alone(archive):
    opened = Archive(str(archive))
    whole = Windows(opened, "train", range(4), seed=1, stride=30)
    half = Windows(opened, "train", range(2, 4), seed=1, stride=30)
    other = Windows(opened, "train", range(4), seed=2, stride=30)
    for a, b in zip(whole.batch(9), half.batch(9), strict=True):
        np.testing.assert_array_equal(a[2:], b)
    np.testing.assert_array_equal(whole.batch(9).frames, whole.batch(9).frames)
    assert not np.array_equal(whole.batch(9).frames, whole.batch(8).frames)
    assert not np.array_equal(whole.batch(9).frames, other.batch(9).frames)


def test_all_windows_and_corners_are_drawn(archive):
    source = Windows(Archive(str(archive)), "train", range(1), crop=30, stride=30)
    assert len(source.starts) == 8 + 5, "of the three missing together, at either end, no more than two"
    seen = {source.batch(step).frames.tobytes() for step in range(600)}
    assert len(seen) > 0.8 * 13 * 9


def test_of_many_windows_drawn_the_one_of_most_rain_is_taken(archive):
    opened = Archive(str(archive))
    weights = np.array(opened.zr.weights)

    def weight(batch):
        levels = batch.frames[0, MIDDLE]
        return weights[levels][scored(levels, batch.scored[0])].sum()

    one, many = (Windows(opened, "train", range(1), crop=30, stride=30, draws=draws) for draws in (1, 400))
    most = max(weight(one.batch(step)) for step in range(400))
    assert weight(many.batch(0)) == pytest.approx(most)
    assert weight(one.batch(0)) < most
    for a, b in zip(many.batch(0), many.batch(0), strict=True):
        np.testing.assert_array_equal(a, b)
    place = next(place for place in (many._draw(np.random.default_rng(k)) for k in range(400)) if many._weight(place))
    many._times = many._times[many._times != place[0] + opened.cadence * MIDDLE]
    assert many._weight(place) == 0, "a frame of another split is missing here too"
    with pytest.raises(ValueError, match="at least 1 window must be drawn, got 0"):
        Windows(opened, "train", range(1), draws=0)


def test_what_windows_cannot_be_had_is_said(archive):
    opened = Archive(str(archive))
    with pytest.raises(ValueError, match="smaller than strides of 120"):
        Windows(opened, "train", range(1), stride=120)
    with pytest.raises(ValueError, match="choose --crop 64"):
        Windows(opened, "train", range(1), stride=32)
    with pytest.raises(ValueError, match="multiple of 30 px and at most 90, got 45"):
        Windows(opened, "train", range(1), crop=45, stride=30)
    with pytest.raises(ValueError, match="at most 90, got 120"):
        Windows(opened, "train", range(1), crop=120, stride=30)


# ---------------------------------------------------------------- the loop


def test_batches_come_in_order_and_not_far_ahead():
    source = Noise(delay=0.002)
    with prefetched(source, 3, 40, torch.device("cpu"), ahead=2) as batches:
        for step in range(3, 9):
            taken = next(batches)
            assert torch.equal(taken.frames, torch.from_numpy(Noise().batch(step).frames))
            assert isinstance(taken, Batch)
        time.sleep(0.05)
        assert len(source.asked) <= 6 + 2 + 1
    assert source.asked == list(range(3, 3 + len(source.asked)))


def test_an_error_while_reading_comes_out():
    class Broken(Noise):
        def batch(self, step):
            if step == 2:
                raise ValueError("frames 3 to 8 are damaged")
            return super().batch(step)

    with prefetched(Broken(), 0, 9, torch.device("cpu")) as batches:
        next(batches), next(batches)
        with pytest.raises(ValueError, match="frames 3 to 8"):
            next(batches)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_training_goes_on_bit_by_bit(tmp_path, ema):
    whole = trainer(tmp_path / "whole", ema=ema)
    assert whole.run()
    for part in range(1, 4):
        asked = itertools.count()
        done = trainer(tmp_path / "parts", ema=ema).run(lambda count=asked: next(count) == 2)
        assert done == (part == 3)
    for name in ("last", "best"):
        files = [tmp_path / folder / f"{name}.safetensors" for folder in ("whole", "parts")]
        assert equal(*(content(path) for path in files))
    logs = [[(row["step"], row["loss"], row["rate"]) for row in log(tmp_path / f)] for f in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert [step for step, _, _ in logs[0]] == [*"123456"]
    again = trainer(tmp_path / "other", seed=4, ema=ema)
    again.run()
    assert not equal(content(tmp_path / "other/best.safetensors"), content(files[0]))


def test_the_average_of_the_weights_is_what_is_validated_and_kept(tmp_path):
    """By hand: of the average a step leaves 1/10, 2/11, 3/12, and from then on 0.3."""
    judged, raw = [], []
    one = trainer(tmp_path, ema=0.3, steps=6, valid_every=6)

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
    first = trainer(tmp_path, steps=4)
    first.run()
    with (tmp_path / "log.csv").open("a") as file:
        file.write("5,9,9,9,\n6,9,9,9,\n")
    trainer(tmp_path, steps=8).run()
    rows = log(tmp_path)
    assert [row["step"] for row in rows] == [*"12345678"]
    assert "9" not in {row["loss"] for row in rows}


def test_the_step_is_adam_on_clipped_parts(tmp_path):
    one = trainer(tmp_path, steps=2, clip=1e-3, decay_every=1, decay=0.5)
    by_hand, source = net(), Noise()
    adam = torch.optim.Adam(by_hand.parameters(), betas=(0.5, 0.999))
    for step in range(2):
        frames = torch.from_numpy(source.batch(step).frames)
        adam.zero_grad()
        mask = (frames[:, 5:] == 0) | (frames[:, 5:] >= 71)
        loss(by_hand(frames[:, :5] / 255), frames[:, 5:], mask).backward()
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
    made = network(narrowed(TABLES["hko7 conv2d"], (2,)), 5, 20, seed=3)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 25, 120, 120), dtype=np.uint8))
    batch = Batch(frames, torch.ones(2, 25, dtype=torch.bool), torch.ones(120, 120, dtype=torch.bool))
    mask = (frames[:, 5:] == 0) | (frames[:, 5:] >= 71)
    descended = rain_loss(SOME, balanced=True)(made, batch)
    recurrent = loss(made(frames[:, :5] / 255), frames[:, 5:], mask)
    norms = [
        torch.stack([g.norm() for g in torch.autograd.grad(value, list(made.parameters()))]).norm()
        for value in (descended, recurrent)
    ]
    assert float(norms[0]) == pytest.approx(100 * float(norms[1]), rel=1e-4)


def test_the_rate_falls_to_its_floor():
    shape = Settings(steps=10, rate=1e-4, decay_every=20_000)
    assert shape.rate_at(19_999) == 1e-4
    assert shape.rate_at(20_000) == pytest.approx(7e-5)
    assert shape.rate_at(10**6) == 1e-6
    assert Settings(rate=0.0).rate_at(5) == 0
    for wrong in ({"steps": 0}, {"decay_every": 0}, {"rate": -1.0}, {"clip": float("nan")}):
        with pytest.raises(ValueError, match="must be at least"):
            Settings(**wrong)


def test_the_best_is_kept_and_patience_ends_it(tmp_path):
    scores = iter([5.0, 3.0, 4.0, 4.0, 1.0])
    one = trainer(tmp_path, validate=lambda: next(scores), steps=20, patience=2)
    assert one.run()
    assert (one.step, one.best) == (8, 3.0)
    _, facts = read(tmp_path / "best.safetensors")
    assert (facts["step"], facts["score"]) == (4, 3.0)
    valid = [row["valid"] for row in log(tmp_path)]
    assert valid == ["", "5.0", "", "3.0", "", "4.0", "", "4.0"]
    again = trainer(tmp_path, validate=lambda: 9.0, steps=20, patience=2)
    assert again.run()
    assert again.step == 8, "patience is remembered"


def test_other_settings_are_another_training(tmp_path):
    trainer(tmp_path, steps=1, facts={"seed": 1}).run()
    trainer(tmp_path, steps=2, facts={"seed": 1}, save_seconds=3.0).run()
    with pytest.raises(ValueError, match=r"seed 1, not 2: give the same options .* or choose another --out"):
        trainer(tmp_path, facts={"seed": 2})
    with pytest.raises(ValueError, match=r"rate 0.0001, not 0.1"):
        trainer(tmp_path, facts={"seed": 1}, rate=0.1)


class Pictures(NamedTuple):
    frames: np.ndarray


def test_any_batches_and_loss_go_through_the_loop(tmp_path):
    """As for MovingMNIST++: float frames that no mask and no table of rain belongs to."""

    class Source:
        def batch(self, step):
            return Pictures(np.random.default_rng(step).random((2, 25, 30, 30), dtype=np.float32))

    def loss(forward, batch):
        return (forward(batch.frames[:, :5]) - batch.frames[:, 5:]).square().mean()

    one = Trainer(net(), Source(), loss, Settings(steps=3, clip=10.0), tmp_path, {})
    assert one.run()
    assert (tmp_path / "best.safetensors").exists()


def test_no_memory_is_said(tmp_path):
    one = trainer(tmp_path)

    def exhausted(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    one.loss = exhausted
    with pytest.raises(MemoryError, match="choose a smaller batch"):
        one.run()


def test_validation_is_the_environments_score(archive):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(archive), split="valid").unwrapped
    agent = load("agents.convgru", env.task, checkpoint="none")
    means = hko7env.averages(hko7env.run(env, agent))
    score = Validation(env, agent.net, Ranks())()
    assert score == pytest.approx(means["b_mse"] + means["b_mae"], rel=1e-12)
    assert Validation(env, agent.net, Ranks(), 2).chosen.tolist() == [0, len(env.schedule) - 1]


# ---------------------------------------------------------------- the command


def train(*words, cwd, launcher=()):
    command = [sys.executable, *launcher, str(ROOT / "tools/train.py"), *map(str, words)]
    here = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(command, cwd=cwd, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


def words(archive, out, **options):
    given = {
        "archive": archive,
        "out": out,
        "steps": 4,
        "crop": 30,
        "valid_every": 2,
        "valid_limit": 2,
        "device": "cpu",
    }
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in (given | options).items())
    return ["agents.convgru", *itertools.chain.from_iterable(pairs)]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command's main function, in an empty folder."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("train").main


def test_the_command_is_stopped_goes_on_and_its_weights_are_evaluated(archive, tmp_path, command, monkeypatch, capsys):
    learn = Trainer._learn

    def interrupted(self, batch, rate):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return learn(self, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_learn", interrupted)
        patch.delenv("LOCAL_RANK", raising=False)
        assert command(words(archive, "parts", valid_every=4)) == 130
    assert "stopped; the same command goes on from there: 3 steps" in capsys.readouterr().out
    for name in ("parts", "whole"):
        assert command(words(archive, name, valid_every=4)) == 0
    assert "finished: 4 steps" in capsys.readouterr().out
    assert equal(*(content(tmp_path / name / "last.safetensors") for name in ("parts", "whole")))

    env = gymnasium.make("HKO7-Offline-v0", archive=str(archive), split="valid").unwrapped
    agent = load("agents.convgru", env.task, checkpoint=str(tmp_path / "whole/best.safetensors"))
    score = Validation(env, agent.net, Ranks(), 2)()
    assert read(tmp_path / "whole/best.safetensors")[1]["score"] == score


def test_the_command_learns_from_rain_that_is_made_as_it_goes(archive, tmp_path, command, capsys):
    for name in ("one", "two"):
        assert command(words(archive, name, generate=60, steps=1)) == 0
    assert equal(*(content(tmp_path / name / "best.safetensors") for name in ("one", "two")))
    assert command(words(archive, "three", generate=45)) == 1
    assert "crop them to multiples of 30" in capsys.readouterr().err


def test_a_training_begins_with_the_weights_of_another(archive, tmp_path, command, capsys):
    for seed, name in enumerate(("first", "other")):
        assert command(words(archive, name, steps=1, seed=seed)) == 0
    first, other = tmp_path / "first/best.safetensors", tmp_path / "other/last.safetensors"
    second = words(archive, "second", steps=1, crop=60, rate=0, checkpoint=first)
    assert command(second) == 0
    assert equal(*(under("net", content(path)) for path in (first, tmp_path / "second/best.safetensors")))
    _, facts = read(tmp_path / "second/best.safetensors")
    assert facts["checkpoint"] == digest(under("net", content(first)))
    capsys.readouterr()
    assert command(words(archive, "second", steps=2, crop=60, rate=0, checkpoint=other)) == 1
    assert "second/last.safetensors is of a training with checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("model, steps, batch", [("conv3d", 80_000, 8), ("convgru", 100_000, 4)])
def test_the_defaults_are_those_of_the_released_code(archive, command, model, steps, batch):
    train = importlib.import_module("train")
    given = ["--archive", str(archive), "--generate", "120", "--valid", "none", "--device", "cpu"]
    made = train.prepare(train.parser().parse_args([f"agents.{model}", *given]), "cpu", Ranks())
    assert (made.settings.steps, made.facts["batch"]) == (steps, batch)
    assert made.facts.get("loss") == ("sum over leads" if model == "conv3d" else None)


@pytest.mark.parametrize("checkpoint", [{}, {"checkpoint": shipped("trajgru", "small")}])
def test_a_training_begins_with_memory_and_spread_links(archive, tmp_path, command, checkpoint):
    begun = words(archive, "begun", steps=1, rate=0, valid="none", memory=2, spread=1.5, **checkpoint)
    assert command(["agents.trajgru", *begun[1:]]) == 0
    net = under("net", content(tmp_path / "begun/last.safetensors"))
    before = under("net", content(checkpoint["checkpoint"])) if checkpoint else net
    for name, weights in net.items():
        assert torch.equal(weights, before[name]) or name.endswith(("flow.weight", "flow.bias", "h2h.bias"))
    gates, flows = ([of for name, of in net.items() if name.endswith(end)] for end in ("h2h.bias", "flow.bias"))
    assert len(gates) == len(flows) == 6
    for gate in gates:
        assert (gate.chunk(3)[1] == 2).all()
    for flow in flows:
        torch.testing.assert_close(flow.view(-1, 2).norm(dim=1), 1.5 * torch.arange(SMALL_LINKS).sqrt())


def test_generators_of_links_learn_at_their_share_of_the_rate(archive, tmp_path, command):
    """The first step of Adam is proportional to the rate."""
    moved = []
    for name, share in (("whole", 1), ("quarter", 0.25), ("none", 0)):
        given = words(archive, name, steps=1, rate=1e-2, valid="none", spread=1, link_rate=share)
        assert command(["agents.trajgru", *given[1:]]) == 0
        moved.append(under("net", content(tmp_path / name / "last.safetensors")))
    far = []
    for name in moved[0]:
        whole, quarter, none = (net[name] for net in moved)
        if ".flow." in name:
            far.append(float((whole - none).abs().max()))
            torch.testing.assert_close(quarter - none, (whole - none) / 4, rtol=1e-4, atol=1e-6)
        elif "2f." not in name:  # whose gradients are 0 as long as the last layer is
            assert torch.equal(whole, quarter) and torch.equal(whole, none), name
    assert max(far) == pytest.approx(1e-2, rel=0.01)


def test_two_processes_agree_with_one(archive, tmp_path, command):
    """To 1e-5 of a weight's size: gradients are added in another order."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    code, _, error = finish(train(*words(archive, "two"), cwd=tmp_path, launcher=launcher))
    assert code == 0, error
    assert command(words(archive, "one")) == 0
    one, two = (content(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("net."):
            torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-5, msg=name)
    logs = [log(tmp_path / name) for name in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
    assert float(logs[0][3]["valid"]) == pytest.approx(float(logs[1][3]["valid"]), rel=1e-5)


@pytest.mark.parametrize(
    "given, message",
    [
        (["agents.trajgr", "--archive", "x"], "did you mean 'agents.trajgru'?"),
        (["agents.convgru", "--archive", "nowhere.zarr"], "no archive at nowhere.zarr"),
        (["--split", "tran"], "did you mean 'train'?"),
        (["--size", "smal"], "did you mean 'small'?"),
        (["--crop", "45"], "a crop is a multiple of 30 px"),
        (["--batch", "0"], "a batch of 0 cannot be shared"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--device", "cuda"], "choose --device cpu"),
        (["--valid-limit", "0"], "at least 1 sequence"),
        (["--ema", "1"], "ema must be from 0 to below 1"),
        (["--checkpoint", "lost.safetensors"], "no checkpoint at lost.safetensors"),
        (["--checkpoint", str(shipped("trajgru", "small"))], "has model trajgru, needed is convgru"),
        (["--link-rate", "-1"], "link_rate must be at least 0"),
        (["--spread", "1"], "--spread is of TrajGRU layers, and agents.convgru has none"),
    ],
)
def test_the_command_names_what_is_wrong(archive, tmp_path, command, monkeypatch, capsys, given, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    full = given if "--archive" in given else ["agents.convgru", "--archive", str(archive), *given]
    assert command(full) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
