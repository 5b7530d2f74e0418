import numpy as np
import pytest

from agents.calibration import network_counting
from agents.calibration.counting import Source, make_prior
from agents.calibration.network_counting import calibrate_network, count_archive, read_counts, read_network
from agents.calibration.reliability import BINS, EVENTS, STEP
from agents.commands.calibrate import main
from agents.flow_net import Config, make
from agents.learning import checkpoint
from hko7env.archive import Archive, create
from hko7env.split_view import SplitView
from hko7env.testing import task
from hko7env.units import HKO7
from tests.helpers.flow_net import calibrated_weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return ninety_archive


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return calibrated_weights(tmp_path_factory.mktemp("weights") / "net.safetensors")


def test_a_count_that_is_stopped_ends_with_the_same_counts(archive, weights, tmp_path, monkeypatch):
    view = SplitView(Archive(str(archive)), "train")
    net, tensors, _ = read_network(weights, HKO7)
    digest = checkpoint.digest(tensors)
    whole = count_archive(view, net, digest, tmp_path / "whole")
    monkeypatch.setattr(network_counting, "PART", 1)
    count_sequence, calls = network_counting._count_sequence, []

    def stop(*args):
        if len(calls) == 2:
            calls.append("stopped")
            raise KeyboardInterrupt
        calls.append("counted")
        count_sequence(*args)

    monkeypatch.setattr(network_counting, "_count_sequence", stop)
    with pytest.raises(KeyboardInterrupt):
        count_archive(view, net, digest, tmp_path / "parts")
    parts = count_archive(view, net, digest, tmp_path / "parts")
    np.testing.assert_array_equal(parts, whole)
    assert calls.count("counted") == len(view.schedule)
    assert whole.shape == (20, EVENTS, BINS, 2)
    cells = np.array([v.scored[STEP // 2 :: STEP, STEP // 2 :: STEP].sum() for v in (view,)])
    assert whole.sum((2, 3)).max() <= cells[0] * len(view.schedule), "noise and missing frames are not counted"
    for file in (tmp_path / "parts").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"network-.*npz is damaged .*: delete it"):
        count_archive(view, net, digest, tmp_path / "parts")


def test_calibration_keeps_the_weights_and_stores_a_mean_sequence(archive, weights, tmp_path, capsys):
    out = tmp_path / "out" / "flow_net.safetensors"
    command = [str(archive), "--split", "train", "--network", str(weights), "--out", str(out)]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 0
    assert "out/flow_net.safetensors" in capsys.readouterr().out
    _, tensors, metadata = read_network(out, HKO7)
    before, _ = checkpoint.read(weights)
    assert all(np.array_equal(tensors[name], before[name]) for name in before if name != "counts")
    assert metadata["calibrated"][0]["split"] == "train"
    some = task(90, 90)
    counts = read_counts(tensors, out, some)
    assert counts.shape == (20, EVENTS, BINS, 2)
    assert counts.sum((2, 3)).max() == pytest.approx(23 * 23, rel=1e-5)
    make(some, Config(checkpoint=out))


def test_archives_weigh_as_they_are_told(archive, weights, tmp_path):
    opened = Archive(str(archive))
    train, valid = (SplitView(opened, split) for split in ("train", "valid"))
    stored = {}
    for name, sources in {
        "train": [Source(train, 1.0)],
        "valid": [Source(valid, 1.0)],
        "both": [Source(train, 3.0), Source(valid, 1.0)],
    }.items():
        calibrate_network(weights, sources, tmp_path / name, tmp_path / "cache")
        stored[name] = checkpoint.read(tmp_path / name)[0]["counts"].numpy()
    np.testing.assert_allclose(stored["both"], 0.75 * stored["train"] + 0.25 * stored["valid"], rtol=1e-5, atol=1e-9)


def test_frames_that_the_weights_learned_from_are_refused(archive, tmp_path):
    opened = Archive(str(archive))
    learned = calibrated_weights(
        tmp_path / "learned.safetensors", facts={"archives": [[opened.fingerprint, 1.0]], "split": "train"}
    )
    for split in ("train", "all"):
        with pytest.raises(
            ValueError, match=f"learned from the split 'train' of .*, which shares frames with '{split}'"
        ):
            calibrate_network(learned, [Source(SplitView(opened, split), 1)], tmp_path / "o.safetensors", tmp_path)
    calibrate_network(learned, [Source(SplitView(opened, "valid"), 1)], tmp_path / "o.safetensors", tmp_path)


def test_a_split_without_observations_is_refused(weights, tmp_path):
    path = tmp_path / "hidden.zarr"
    made = create(str(path), shape=(64, 64), cadence=6, mask=np.full((64, 64), 2, np.uint8))
    made.append(6 * np.arange(30), np.full((30, 64, 64), 100, np.uint8))
    source = Source(SplitView(Archive(str(path)), "all"), 1)
    with pytest.raises(ValueError, match=r"hidden\.zarr, split all, has no observation to count: choose another"):
        calibrate_network(weights, [source], tmp_path / "o.safetensors", tmp_path)
    with pytest.raises(ValueError, match=r"hidden\.zarr, split all, has no observation to count: choose another"):
        make_prior([source], tmp_path / "o.safetensors", tmp_path)
