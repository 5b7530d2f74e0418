import importlib
import itertools
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agents.learning.checkpoint import named, read, write
from agents.moving_mnist import experiment as digits
from agents.moving_mnist import results as digit_results
from agents.moving_mnist.data import IMAGES, OFFICIAL, draw, official, read_mnist, render
from agents.moving_mnist.results import PAPER, Result
from tests.test_moving_mnist import BLOTS, POOLED

ROOT = Path(__file__).resolve().parent.parent
COUNTS = {  # of parameters; Shi et al. 2017, Table 1, with its misprints put right, see README
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
TINY = {name: ["--narrow", "1", "1", "1", "1"] for name in COUNTS} | {
    "conv2d": ["--narrow", "4"],
    "conv3d": ["--narrow", "1"],
}
TEST = draw(7, 0, 6, **POOLED)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The command as a module, in an empty folder, MNIST being forty blots and the test file six sequences."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / IMAGES).write_bytes(b"\0\0\x08\3" + struct.pack(">3I", *BLOTS.shape) + BLOTS.tobytes())
    np.savez(
        folder / OFFICIAL[0],
        digit_indices=TEST.digit,
        affine_transforms_multipliers=TEST.place,
        base_rotation_angle=TEST.rotation,
        scale_variation=TEST.scale,
        init_velocity_magnitude=TEST.speed,
        init_velocity_angle=TEST.heading,
        appearance_mult=TEST.light,
    )
    monkeypatch.setenv("HKO7ENV_MNIST", str(folder))
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("moving_mnist")


def words(model, steps=3, *more, batch=2):
    return ["train", model, *TINY[model], "--steps", str(steps), "--batch", str(batch), "--device", "cpu", *more]


def trained(tool, model, steps=3, *more):
    """The folder of a training."""
    assert tool.main(words(model, steps, "--out", f"mnist/{model}", *more)) == 0
    return Path("mnist") / model


def tensors(folder):
    return read(Path(folder) / "last.safetensors")[0]


# ---------------------------------------------------------------- networks, batches, loss


def test_the_ten_networks_of_table_1():
    assert set(digits.MODELS) == set(COUNTS) == set(PAPER)
    for model, count in COUNTS.items():
        net = digits.build(model, None, device="meta")
        assert sum(parameter.numel() for parameter in net.parameters()) == count, model


def test_the_schedules():
    paper, short = (digits.schedule("trajgru-L13", name) for name in ("paper", "short"))
    assert (paper.steps, paper.decay_every, paper.clip, paper.rate) == (200_000, 20_000, 10, 1e-4)
    assert paper.rate_at(199_999) == pytest.approx(1e-4 * 0.7**9)
    assert (short.steps, short.decay_every) == (40_000, 4_000)
    cnn = digits.schedule("conv2d")
    assert (cnn.steps, cnn.decay_every, cnn.clip) == (100_000, 20_000, 50)
    assert digits.schedule("dfn", steps=300).decay_every == 30
    assert digits.schedule("dfn", steps=3, decay_every=7).decay_every == 7
    assert [digits.batch_size(model) for model in ("dfn", "conv3d")] == [4, 32]


def test_batches_are_the_stream_of_the_seed():
    """Whoever asks, in whatever order; the rotation is the one that was asked for."""
    source = digits.Digits(BLOTS, 3, seed=5, rotation=15.0)
    wanted = render(BLOTS, draw(5, 9, 3, pool=40, rotation=15.0))
    assert torch.equal(source.batch(9).frames, wanted)
    assert torch.equal(source.batch(9).frames, wanted)
    assert not torch.equal(digits.Digits(BLOTS, 3, seed=6, rotation=15.0).batch(9).frames, wanted)


def test_the_loss_is_of_pixels_that_are_not_clipped():
    frames = torch.full((2, 20, 64, 64), 1.5)
    value = digits.squared_error(lambda seen: seen + 1, digits.Sequences(frames))
    assert float(value) == 1
    assert float(digits.squared_error(digits.zero, digits.Sequences(frames))) == 2.25


# ---------------------------------------------------------------- train


@pytest.mark.parametrize("model", ["conv2d", "convgru-K3D2"])
def test_a_stopped_training_goes_on_bit_by_bit(tool, model):
    whole = trained(tool, model)
    for part in range(2):
        asked = itertools.count()
        trainer = tool.prepare(tool.parser().parse_args(words(model, 3, "--out", "parts")))
        assert trainer.run(lambda count=asked: next(count) == 2) == (part == 1)
    one, other = tensors(whole), tensors("parts")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    begun = digits.build(model, [int(width) for width in TINY[model][1:]])
    assert not all(torch.equal(one[f"net.{name}"], value) for name, value in begun.state_dict().items())


def test_every_kind_of_network_is_trained_into_its_own_folder(tool, capsys):
    assert tool.main(words("dfn", 1, batch=1)) == 0
    assert "test mnist/dfn-w1.1.1.1-1-seed0" in capsys.readouterr().out
    assert tool.main(words("conv3d", 1, "--seed", "4", "--rotation", "15")) == 0
    _, facts = read(Path("mnist/conv3d-w1-1-seed4/last.safetensors"))
    assert (facts["model"], facts["seed"], facts["rotation"], facts["step"]) == ("conv3d", 4, 15, 1)
    assert Path("mnist/conv3d-w1-1-seed4/log.csv").read_text().splitlines()[1].startswith("1,")


def test_a_small_network_learns(tool):
    """More than the best constant, which leaves the variance: it knows where the digits were."""
    run = digits.Run.read(trained(tool, "conv2d", 80, "--rate", "3e-3", "--batch", "8"))
    sequences = draw(1, 0, 60, **POOLED)
    truth = render(BLOTS, sequences)[:, 10:]
    found = digits.errors(run.net, BLOTS, sequences).mean()
    assert found < float(truth.var())


# ---------------------------------------------------------------- test


def test_the_trivial_forecasts_score_what_they_should(tool):
    assert tool.main(["test", "zero", "last"]) == 0
    frames = render(BLOTS, TEST).numpy().astype(np.float64)
    for name, forecast in (("zero", 0), ("last", frames[:, 9:10])):
        result = Result.read(Path("mnist") / name / "test-6.json")
        off = (frames[:, 10:] - forecast) ** 2
        assert result.mse == pytest.approx(off.mean(), rel=1e-6)
        np.testing.assert_allclose(result.leads, off.mean((0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(result.errors, off.mean((1, 2, 3)), rtol=1e-6)


def test_the_first_official_sequences_give_the_reference_figures(shared):
    """The figures of an independent reckoning, see tests/test_moving_mnist.py."""
    images, parameters = read_mnist(shared / "mnist"), official(shared / "mnist")[:500]
    for forecast, wanted in ((digits.zero, 3.831168), (digits.last, 9.484152)):
        assert 100 * digits.errors(forecast, images, parameters).mean() == pytest.approx(wanted, rel=1e-4)


def test_a_run_is_tested_as_it_stands(tool, capsys):
    folder = trained(tool, "conv2d")
    assert tool.main(["test", str(folder), "--limit", "5", "--batch", "2"]) == 0
    assert "on 5 sequences; leads" in capsys.readouterr().out
    result = Result.read(folder / "test-5.json")
    run = digits.Run.read(folder)
    frames = render(BLOTS, TEST[:5])
    off = run.net.train(False)(frames[:, :10]) - frames[:, 10:]
    np.testing.assert_allclose(result.errors, off.square().mean((1, 2, 3)).detach(), rtol=1e-5)
    assert (result.model, result.seed, result.steps, result.training) == ("conv2d", 0, 3, "widths 4, batch 2")
    assert result.parameters == sum(p.numel() for p in run.net.parameters())
    assert {path.name for path in folder.iterdir()} == {
        "best.safetensors",
        "last.safetensors",
        "log.csv",
        "test-5.json",
    }


# ---------------------------------------------------------------- table


def result(model, errors, **given):
    return Result(model, "some", [float(np.mean(errors))] * 10, list(errors), **given)


def test_the_table_of_results_made_by_hand(tool, capsys):
    steps = {"parameters": 4_000_397, "steps": 200_000}
    result("trajgru-L13", [0.01, 0.03], seed=0, seconds=3600.0, **steps).write(Path("mnist/a"))
    result("trajgru-L13", [0.02, 0.04], seed=1, seconds=7200.0, **steps).write(Path("mnist/b"))
    result("trajgru-L13", [9.0], seed=1, **steps).write(Path("mnist/b"))
    result("conv2d", [0.05, 0.03], seed=0, steps=20, training="widths 4").write(Path("mnist/c"))
    result("zero", [0.08, 0.04]).write(Path("mnist/zero"))
    assert tool.main(["table"]) == 0
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert printed[2:5] == [
        ["conv2d, widths 4", "0", "4.000", "", "1", "20", "0.00", "2", "1.681"],
        ["trajgru-L13", "4,000,397", "2.500", "0.707", "2", "200,000", "1.50", "2", "1.170"],
        ["zero", "", "6.000", "", "", "", "", "2", ""],
    ]
    assert printed[8:] == [  # by hand: 3.5 and -0.5, then 3 and 1, then 6.5 and 0.5
        ["trajgru-L13", "2.500", "", ""],
        ["conv2d, widths 4", "4.000", "+1.500 ± 2.000", "+1.500 ± 2.000"],
        ["zero", "6.000", "+3.500 ± 3.000", "+2.000 ± 1.000"],
    ]


def test_results_of_other_digits_and_other_files_are_refused(tmp_path):
    one = result("zero", [0.1])
    one.write(tmp_path / "a")
    replace(one, digits="other").write(tmp_path / "b")
    with pytest.raises(ValueError, match="different copies of MNIST"):
        digit_results.results(tmp_path)
    path = one.write(tmp_path / "b")
    for text in ("{", "[]", "{}", json.dumps(json.loads(path.read_text()) | {"model": "me"})):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"test-1.json is no result of this hko7env .*: test again"):
            digit_results.results(tmp_path)


# ---------------------------------------------------------------- draw


@pytest.mark.parametrize("model, columns", [("conv2d", 2), ("trajgru-L5", 5)])
def test_the_animation_has_all_frames(tool, model, columns):
    folder = trained(tool, model, 1)
    assert tool.main(["draw", str(folder), "--rows", "3", "1", "--out", "a.webp", "--device", "cpu"]) == 0
    frames = render(BLOTS, TEST)
    with Image.open("a.webp") as film:
        assert (film.format, film.n_frames) == ("WEBP", 20)
        assert film.size == (columns * 196 - 4, 16 + 2 * 196 - 4)
        for t in (0, 9, 17):
            film.seek(t)
            shown = np.asarray(film.convert("L"))
            for row, sequence in enumerate((3, 1)):
                top = 16 + row * 196
                truth = shown[top + 1 : top + 192 : 3, 1:192:3]
                np.testing.assert_allclose(truth, 255 * frames[sequence, t].clip(0, 1), atol=1)
                seen = shown[top + 1 : top + 192 : 3, 197:388:3]
                assert np.array_equal(seen, truth) == (t < 10)


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "given, message",
    [
        (["train", "trajgruL13"], "there is no network 'trajgruL13', did you mean 'trajgru-L13'?"),
        (["train", "dfn", "--schedule", "shrt"], "did you mean 'short'?"),
        (["train", "dfn", "--narrow", "1", "1"], "takes 4 widths"),
        (["train", "conv2d", "--narrow", "0"], "widths are at least 1"),
        (["train", "dfn", "--mnist", "nowhere"], "is needed"),
        (["train", "dfn", "--steps", "0"], "steps must be at least 1"),
        (["train", "conv2d", "--narrow", "4", "--batch", "0"], "batch >= 1"),
        (["train", "conv2d", "--device", "cuda"], "choose --device cpu"),
        (["test", "zro"], "no training at zro"),
        (["test", "zero", "--limit", "0"], "--limit must be at least 1"),
        (["test", "zero", "--batch", "0"], "at least 1 sequence"),
        (["test", "last", "--mnist", "nowhere"], "is needed"),
        (["table", "--root", "nowhere"], "no result in nowhere"),
        (["draw", "nowhere"], "no training at nowhere"),
        (["draw", "nowhere", "--rows", "6"], "--rows are 0 to 5, got 6"),
        (["draw", "nowhere", "--out", "a.gif"], "--out ends in .webp"),
    ],
)
def test_what_is_wrong_is_said(tool, tmp_path, monkeypatch, capsys, given, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert tool.main(given) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_mnist_must_be_somewhere(tool, monkeypatch, capsys):
    monkeypatch.delenv("HKO7ENV_MNIST")
    assert tool.main(words("conv2d")) == 1
    assert "the environment variable HKO7ENV_MNIST" in capsys.readouterr().err


def test_weights_that_do_not_belong_are_refused(tool, capsys):
    folder = trained(tool, "conv2d", 1)
    for other, message in (
        (words("conv3d", 1), "model conv2d, not conv3d"),
        (words("conv2d", 1, "--seed", "1"), "seed 0, not 1"),
        (words("conv2d", 1, "--rotation", "15"), r"rotation 30.0, not 15.0"),
    ):
        assert tool.main([*other, "--out", str(folder)]) == 1
        assert message in capsys.readouterr().err
    path = folder / "last.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes(9))
    assert tool.main(["test", str(folder)]) == 1
    assert "is damaged" in capsys.readouterr().err
    path.write_bytes(whole)
    held, facts = read(path)
    for changed, message in (({"table": "x"}, "table has changed"), ({"rule": 0}, "rule has changed")):
        write(path, held, facts | changed)
        assert tool.main(["test", str(folder)]) == 1
        assert message in capsys.readouterr().err
    write(path, named("net", {}), {"kind": "training", "model": "convgru"})
    assert tool.main(["draw", str(folder)]) == 1
    assert "is of convgru trained on radar" in capsys.readouterr().err
