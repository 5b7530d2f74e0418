"""Batches made on the device; here on the CPU, where they must be those of the samplers that read archives."""

import numpy as np
import pytest
import torch

from agents.learning.archive_sampler import ArchiveSampler, MixedSampler
from agents.learning.device_sources import JoinedSource, RainSource, ResidentSampler
from agents.learning.prefetch import prefetched
from agents.learning.radar_training import make_trainer
from agents.learning.torch_rain import TorchRain
from agents.learning.train_config import TrainConfig
from hko7env.archive import Archive
from hko7env.split_view import SplitView
from hko7env.synthetic import EpisodeSpec, make
from tests.learning.test_asynchronous import CountReads

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return ninety_archive


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("archives") / "wide.zarr"
    make(path, shape=(60, 75), seed=5, weather=(EpisodeSpec("train", "2013-06-10T00:00", 40),))
    return path


def both(path, rows=range(3), **options):
    view = SplitView(Archive(str(path)), "train")
    given = {"seed": 1, "stride": 30, **options}
    return ArchiveSampler(view, rows, **given), ResidentSampler(view, rows, device=CPU, **given)


def assert_same(host, device, steps=range(12)):
    for step in steps:
        for one, other in zip(host.batch(step), device.batch(step), strict=True):
            assert isinstance(other, torch.Tensor)
            assert other.dtype == torch.from_numpy(one).dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"crop": 30},
        {"crop": 60, "candidates": 4},
        {"crop": 30, "candidates": 3, "varied": True},
        {"varied": True},
    ],
)
def test_windows_are_those_that_are_read_from_the_archive(archive, options):
    assert_same(*both(archive, **options))


def test_of_several_archives_too(archive, wide):
    each = [both(path, crop=30, candidates=2, varied=True) for path in (archive, wide)]
    host, device = (MixedSampler([pair[k] for pair in each], [1, 2], range(3), seed=1) for k in (0, 1))
    assert_same(host, device)


def test_drawing_reads_nothing_back(archive):
    _, device = both(archive, crop=30, candidates=3, varied=True)
    with CountReads() as reads:
        device.batch(0)
    assert not reads.found


def test_missing_frames_of_the_split_are_empty(archive):
    _, device = both(archive)
    batches = [device.batch(step) for step in range(30)]
    missing = [frames[~present] for frames, present, _ in batches]
    assert sum(len(each) for each in missing) > 0
    assert all((each == 0).all() for each in missing)


def rain(size, seed=3):
    return TorchRain((30, 60), 25, size, seed=seed)


def test_rain_made_for_some_steps_is_handed_out_step_by_step():
    source, whole = RainSource(rain(6), 3), rain(6)
    for step in (0, 1, 2, 3, 1, 5):
        frames, present, static = source.batch(step)
        expected, _, scored = whole.batch(step // 3)
        assert torch.equal(frames, expected[2 * (step % 3) : 2 * (step % 3) + 2])
        assert present.shape == (2, 25)
        assert present.all()
        assert torch.equal(static, scored.expand(2, 30, 60))
    with pytest.raises(ValueError, match="7 sequences are no batches for 3 steps: choose a multiple"):
        RainSource(rain(7), 3)


def test_rows_of_sources_are_joined(archive):
    host, _ = both(archive, range(2), crop=30)
    other = TorchRain((30, 30), 25, 1, seed=3)
    joined = JoinedSource([host, RainSource(other)], CPU)
    for step in (0, 4):
        frames, present, static = joined.batch(step)
        assert (frames.shape, present.shape, static.shape) == ((3, 25, 30, 30), (3, 25), (3, 30, 30))
        assert torch.equal(frames[:2], torch.from_numpy(host.batch(step).frames))
        assert torch.equal(frames[2:], other.batch(step)[0])


@pytest.mark.parametrize("resident", [False, True])
def test_a_training_mixes_archives_and_synthetic_rain(archive, wide, tmp_path, resident):
    options = {"batch": 3, "synthetic_size": 60, "synthetic_rows": 1, "valid_limit": 2, "resident": resident}
    config = TrainConfig(steps=2, valid_every=2, seed=1, varied=True, device="cpu", out=tmp_path / "out", **options)
    archives = [(Archive(str(archive)), 1.0), (Archive(str(wide)), 1.0)]
    trainer = make_trainer("convgru", archives, config)
    host = [both(path, range(2), crop=60, varied=True)[0] for path in (archive, wide)]
    expected = MixedSampler(host, [1, 1], range(2), seed=1).batch(1)
    with prefetched(trainer.source, 1, 2, CPU) as batches:
        frames, _, _ = next(batches)
    np.testing.assert_array_equal(frames[:2], expected.frames)
    assert torch.equal(frames[2:], TorchRain((60, 60), 25, 1, seed=1).batch(1)[0])
    assert trainer.run()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_windows_cut_on_a_gpu_are_those_read_from_the_archive(archive):
    view = SplitView(Archive(str(archive)), "train")
    options = {"seed": 1, "stride": 30, "crop": 30, "candidates": 3, "varied": True}
    host = ArchiveSampler(view, range(3), **options)
    device = ResidentSampler(view, range(3), device=torch.device("cuda"), **options)
    with prefetched(device, 0, 6, torch.device("cuda")) as batches:
        for step in range(6):
            for one, other in zip(host.batch(step), next(batches), strict=True):
                assert other.is_cuda
                np.testing.assert_array_equal(one, other.cpu())
