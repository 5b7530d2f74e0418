from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hko7env.archive import Archive, create
from hko7env.archive.clutter import (
    Histogram,
    boundary,
    count_archive,
    find_outliers,
    histogram,
    load_mask,
    remove_noise,
)
from hko7env.synthetic.process import HONG_KONG
from hko7env.synthetic.rain import rain
from hko7env.units import NOISE_LEVEL


def some_frames(n, shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), np.uint8) * (rng.random((n, *shape)) < 0.3)


@given(st.integers(1, 40), st.integers(1, 60), st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 99))
@settings(max_examples=30)
def test_histograms_count_and_add(height, width, sizes, seed):
    """Any batching gives what counting location by location gives; 40 x 60 locations span several tiles."""
    frames = some_frames(sum(sizes), (height, width), seed)
    edges = np.cumsum([0, *sizes])
    batches = [frames[a:b] for a, b in pairwise(edges)]
    whole = histogram((height, width), batches)
    expected = np.zeros((height, width, 256), np.uint32)
    for frame in frames:
        for place in zip(*np.nonzero(frame), strict=True):
            expected[(*place, frame[place])] += 1
    np.testing.assert_array_equal(whole.counts, expected)
    assert whole.frames == len(frames)
    parts = [histogram((height, width), [batch]) for batch in batches]
    added = sum(parts[1:], parts[0])
    np.testing.assert_array_equal(added.counts, whole.counts)
    assert added.frames == whole.frames


def direct(counts, frames, in_range, deviations=3.0):
    """Appendix D.2 location by location, with numpy's pseudo-inverse, deaf to eigenvalues that are rounding alone."""
    x = counts[in_range][:, 1:] / frames
    inverse = np.linalg.pinv(np.cov(x, rowvar=False), rcond=1e-12, hermitian=True)
    distances = np.array([np.sqrt((row - x.mean(axis=0)) @ inverse @ (row - x.mean(axis=0))) for row in x])
    return distances, distances.mean() + deviations * distances.std()


@pytest.mark.parametrize("levels", [255, 40, 3])
def test_distances_equal_the_direct_computation(levels):
    """Also with features that never vary and fewer frames than levels, where the covariance has no inverse."""
    frames = some_frames(60, (17, 23)) % levels
    counted = histogram((17, 23), [frames])
    in_range = boundary((17, 23), (8, 11), 8)
    found = find_outliers(counted, in_range)
    distances, threshold = direct(counted.counts, 60, in_range)
    np.testing.assert_allclose(found.distance[in_range], distances, rtol=1e-6)
    assert found.threshold == pytest.approx(threshold, rel=1e-6)
    assert np.isnan(found.distance[~in_range]).all()
    np.testing.assert_array_equal(found.mask == 2, ~in_range)
    np.testing.assert_array_equal(found.mask[in_range] == 1, distances > threshold * (1 + 1e-9))


def test_locations_that_always_echo_are_found():
    rng = np.random.default_rng(1)
    frames = some_frames(200, (40, 50)) * (rng.random((200, 40, 50)) < 0.3)
    planted = np.zeros((40, 50), bool)
    planted[10:12, 20:23] = planted[30, 5] = True
    frames[:, planted] = rng.integers(90, 120, (200, 7))
    found = find_outliers(histogram((40, 50), [frames]), np.ones((40, 50), bool)).mask == 1
    assert found[planted].all()
    assert (found & ~planted).mean() < 0.005


@pytest.mark.parametrize("frames", [np.zeros((3, 6, 8), np.uint8), np.full((3, 6, 8), 99, np.uint8)])
def test_a_world_without_differences_has_no_outliers(frames):
    found = find_outliers(histogram((6, 8), [frames]), np.ones((6, 8), bool))
    assert not (found.mask == 1).any()
    assert (found.distance == 0).all()


def test_what_cannot_be_denoised_is_named():
    empty = Histogram(np.zeros((6, 8, 256), np.uint32), 0)
    with pytest.raises(ValueError, match="got 0 frames and 48"):
        find_outliers(empty, np.ones((6, 8), bool))
    with pytest.raises(ValueError, match="at least two locations"):
        find_outliers(Histogram(empty.counts, 3), np.zeros((6, 8), bool))
    with pytest.raises(ValueError, match="expected uint8 frames of"):
        histogram((6, 8), [np.zeros((2, 8, 6), np.uint8)])
    with pytest.raises(ValueError, match="cannot add histograms"):
        _ = empty + Histogram(np.zeros((8, 6, 256), np.uint32), 0)


def test_the_official_mask_and_boundary(shared, tmp_path):
    mask = load_mask(shared / "hko7" / "exclude_mask.npz")
    assert np.bincount(mask.ravel()).tolist() == [177_316, 2_824, 50_260]
    np.testing.assert_array_equal(mask != 2, boundary((480, 480), (239.5, 239.5), 239.5))
    archive = create(str(tmp_path / "a.zarr"), shape=(480, 480))
    archive.update(mask=mask)
    assert Archive(archive.name).scored.sum() == 177_316


def test_masks_are_loaded_from_both_forms(tmp_path):
    codes = np.array([[0, 1], [2, 0]], np.uint8)
    np.savez(tmp_path / "a.npz", mask=codes)
    np.savez(tmp_path / "b.npz", outlier_mask=codes == 1, out_boundary_mask=codes == 2, exclude_mask=codes > 0)
    for name in "ab":
        np.testing.assert_array_equal(load_mask(tmp_path / f"{name}.npz"), codes)
    np.savez(tmp_path / "c.npz", other=codes)
    (tmp_path / "d.npz").write_bytes(b"PK no zip")
    for name, message in (("c", "holds neither"), ("d", "not an .npz file")):
        with pytest.raises(ValueError, match=message):
            load_mask(tmp_path / f"{name}.npz")


def test_a_clean_archive_has_hardly_an_outlier():
    """Rain alone, without clutter; what is found by chance shrinks with the length: 1.8 % of 1000, 0.9 % of 4000."""
    means = np.random.default_rng(1).normal(0, HONG_KONG.between, 1000)
    frames = np.stack([next(rain((64, 64), 1, key=(11, e), mean=mean)) for e, mean in enumerate(means)])
    frames[frames < NOISE_LEVEL] = 0
    found = find_outliers(histogram((64, 64), [frames]), np.ones((64, 64), bool))
    assert (found.mask == 1).mean() < 0.02


def test_workers_and_a_dask_cluster_count_the_same(small_archive, cluster):
    archive = Archive(str(small_archive))
    times = archive.select("test")
    alone = count_archive(str(small_archive), times)
    direct = histogram(archive.shape, [np.stack(archive.at(times)[0])])
    np.testing.assert_array_equal(alone.counts, direct.counts)
    for spread in ({"workers": 2}, *([{"scheduler": cluster}] if cluster else [])):
        counted = count_archive(str(small_archive), times, **spread)
        np.testing.assert_array_equal(counted.counts, alone.counts)
        assert counted.frames == alone.frames == len(times)


def test_clean_frames_hold_what_is_scored():
    frames = np.array([[[0, 70, 71], [200, 200, 200]]], np.uint8)
    mask = np.array([[0, 0, 0], [0, 1, 2]], np.uint8)
    np.testing.assert_array_equal(remove_noise(frames, mask), [[[0, 0, 71], [200, 0, 0]]])
    assert frames[0, 0, 1] == 70, "a copy"
