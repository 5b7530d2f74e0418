import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agents.learning.checkpoint import named, read, write
from agents.moving_mnist.data import draw_parameters
from agents.moving_mnist.experiment import Run, build_network, measure_errors
from agents.moving_mnist.files import IMAGES, OFFICIAL
from agents.moving_mnist.rendering import render
from agents.moving_mnist.results import Result
from agents.moving_mnist.training import DigitConfig, make_trainer
from agents.networks.registry import DIGIT_NETWORKS
from tests.helpers.digits import BLOTS, POOLED

TINY = {name: ["--narrow", "1", "1", "1", "1"] for name in DIGIT_NETWORKS} | {
    "conv2d": ["--narrow", "4"],
    "conv3d": ["--narrow", "1"],
}
TEST = draw_parameters(7, 0, 6, **POOLED)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tool(command, tmp_path, monkeypatch):
    """``hko7env moving-mnist`` in an empty folder, with forty blots as MNIST and six sequences as the test file."""
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
    return lambda *words: command("moving-mnist", *words)


def words(model, steps=3, *more, batch=2):
    return ["train", model, *TINY[model], "--steps", str(steps), "--batch", str(batch), "--device", "cpu", *more]


def trained(tool, model, steps=3, *more):
    """The folder of a training."""
    assert tool(*words(model, steps, "--out", f"mnist/{model}", *more)).status == 0
    return Path("mnist") / model


def tensors(folder):
    return read(Path(folder) / "last.safetensors")[0]


# ---------------------------------------------------------------- train


@pytest.mark.parametrize("model", ["conv2d", "convgru-K3D2"])
def test_a_stopped_training_goes_on_bit_by_bit(tool, model):
    whole, widths = trained(tool, model), [int(width) for width in TINY[model][1:]]
    for part in range(2):
        asked = itertools.count()
        config = DigitConfig(steps=3, batch=2, device="cpu", out=Path("parts"))
        trainer = make_trainer(model, widths, config, BLOTS)
        assert trainer.run(lambda count=asked: next(count) == 2) == (part == 1)
    one, other = tensors(whole), tensors("parts")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    begun = build_network(model, widths)
    assert not all(torch.equal(one[f"net.{name}"], value) for name, value in begun.state_dict().items())


def test_every_kind_of_network_is_trained_into_its_own_folder(tool):
    assert "moving-mnist test mnist/dfn-w1.1.1.1-1-seed0" in tool(*words("dfn", 1, batch=1)).out
    assert tool(*words("conv3d", 1, "--seed", "4", "--rotation", "15")).status == 0
    _, facts = read(Path("mnist/conv3d-w1-1-seed4/last.safetensors"))
    assert (facts["model"], facts["seed"], facts["rotation"], facts["step"]) == ("conv3d", 4, 15, 1)
    assert Path("mnist/conv3d-w1-1-seed4/log.csv").read_text().splitlines()[1].startswith("1,")


def test_a_small_network_learns(tool):
    """More than the best constant, which leaves the variance: it knows where the digits were."""
    run = Run.read(trained(tool, "conv2d", 80, "--rate", "3e-3", "--batch", "8"))
    sequences = draw_parameters(1, 0, 60, **POOLED)
    truth = render(BLOTS, sequences)[:, 10:]
    found = measure_errors(run.net, BLOTS, sequences).mean()
    assert found < float(truth.var())


# ---------------------------------------------------------------- test


def test_the_trivial_forecasts_score_what_they_should(tool):
    assert tool("test", "zero", "last").status == 0
    frames = render(BLOTS, TEST).numpy().astype(np.float64)
    for name, forecast in (("zero", 0), ("last", frames[:, 9:10])):
        result = Result.read(Path("mnist") / name / "test-6.json")
        off = (frames[:, 10:] - forecast) ** 2
        assert result.mse == pytest.approx(off.mean(), rel=1e-6)
        np.testing.assert_allclose(result.leads, off.mean((0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(result.errors, off.mean((1, 2, 3)), rtol=1e-6)


def test_a_run_is_tested_as_it_stands(tool):
    folder = trained(tool, "conv2d")
    assert "on 5 sequences; leads" in tool("test", folder, "--limit", "5", "--batch", "2").out
    result = Result.read(folder / "test-5.json")
    run = Run.read(folder)
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


def test_the_table_of_results_made_by_hand(tool):
    steps = {"parameters": 4_000_397, "steps": 200_000}
    result("trajgru-L13", [0.01, 0.03], seed=0, seconds=3600.0, **steps).write(Path("mnist/a"))
    result("trajgru-L13", [0.02, 0.04], seed=1, seconds=7200.0, **steps).write(Path("mnist/b"))
    result("trajgru-L13", [9.0], seed=1, **steps).write(Path("mnist/b"))
    result("conv2d", [0.05, 0.03], seed=0, steps=20, training="widths 4").write(Path("mnist/c"))
    result("zero", [0.08, 0.04]).write(Path("mnist/zero"))
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tool("table").out.splitlines()]
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


# ---------------------------------------------------------------- draw


@pytest.mark.parametrize("model, columns", [("conv2d", 2), ("trajgru-L5", 5)])
def test_the_animation_has_all_frames(tool, model, columns):
    folder = trained(tool, model, 1)
    assert tool("draw", folder, "--rows", "3", "1", "--out", "a.webp", "--device", "cpu").status == 0
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
    "given, status, message",
    [
        ([], 2, "required: COMMAND"),
        (["trian"], 2, "there is no command 'trian', did you mean 'train'?"),
        (["train", "trajgruL13"], 1, "there is no network 'trajgruL13', did you mean 'trajgru-L13'?"),
        (["train", "convgru", "--mnist", "nowhere"], 1, "did you mean 'convgru-K7D1'?"),
        (["train", "dfn", "--schedule", "shrt"], 2, "--schedule is one of paper, short"),
        (["train", "dfn", "--narrow", "1", "1"], 1, "takes 4 widths"),
        (["train", "conv2d", "--narrow", "0"], 1, "widths are at least 1"),
        (["train", "dfn", "--mnist", "nowhere"], 1, "is needed"),
        (["train", "dfn", "--steps", "0"], 1, "steps must be at least 1"),
        (["train", "conv2d", "--narrow", "4", "--batch", "0"], 1, "batch >= 1"),
        (["train", "conv2d", "--device", "cuda"], 1, "choose the device cpu"),
        (["test", "zro"], 1, "no training at zro"),
        (["test", "zero", "--limit", "0"], 2, "must be at least 1"),
        (["test", "zero", "--batch", "0"], 2, "must be at least 1"),
        (["test", "zero", "--root", "x"], 2, "there is no option '--root', use --out"),
        (["test", "last", "--mnist", "nowhere"], 1, "is needed"),
        (["table", "nowhere"], 1, "no result in nowhere"),
        (["draw", "nowhere"], 1, "no training at nowhere"),
        (["draw", "nowhere", "--rows", "6"], 2, "--rows are 0 to 5, got 6"),
        (["draw", "nowhere", "--out", "a.gif"], 2, "--out ends in .webp"),
    ],
)
def test_what_is_wrong_is_said(tool, tmp_path, monkeypatch, given, status, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = tool(*given)
    assert (done.status, done.out) == (status, "")
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_every_command_has_help(tool):
    for words in ([], ["train"], ["test"], ["table"], ["draw"]):
        with pytest.raises(SystemExit) as left:
            tool(*words, "--help")
        assert left.value.code == 0


def test_mnist_must_be_somewhere(tool, monkeypatch):
    monkeypatch.delenv("HKO7ENV_MNIST")
    done = tool(*words("conv2d"))
    assert done.status == 1
    assert "the environment variable HKO7ENV_MNIST" in done.err


def test_weights_that_do_not_belong_are_refused(tool):
    folder = trained(tool, "conv2d", 1)
    for other, message in (
        (words("conv3d", 1), "model conv2d, not conv3d"),
        (words("conv2d", 1, "--seed", "1"), "seed 0, not 1"),
        (words("conv2d", 1, "--rotation", "15"), r"rotation 30.0, not 15.0"),
    ):
        done = tool(*other, "--out", folder)
        assert done.status == 1
        assert message in done.err
    path = folder / "last.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes(9))
    assert "is damaged" in tool("test", folder).err
    path.write_bytes(whole)
    held, metadata = read(path)
    for changed, message in (({"table": "x"}, "table has changed"), ({"rule": 0}, "rule has changed")):
        write(path, held, metadata | changed)
        assert message in tool("test", folder).err
    write(path, named("net", {}), {"kind": "training", "model": "convgru"})
    assert "is of convgru trained on radar" in tool("draw", folder).err
