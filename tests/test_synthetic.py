import numpy as np

from hko7env import synthetic
from hko7env.archive import Archive
from hko7env.layout import minutes
from hko7env.schedule import schedule
from hko7env.synthetic import DEMO, QUANTILES, Weather, make, radar_mask, rain
from hko7env.units import HKO7, THRESHOLDS

TINY = (Weather("test", "2015-05-20T00:00", 12, missing=(3,)), Weather("test", "2015-07-09T00:00", 8))


def test_same_seed_same_frames(tmp_path):
    first = make(tmp_path / "a", shape=(40, 56), weather=TINY)
    assert make(tmp_path / "b", shape=(40, 56), weather=TINY).fingerprint == first.fingerprint
    assert make(tmp_path / "c", shape=(40, 56), seed=8, weather=TINY).fingerprint != first.fingerprint


def test_a_stopped_making_goes_on(tmp_path, monkeypatch):
    whole = make(tmp_path / "a", shape=(40, 56), weather=TINY)
    with monkeypatch.context() as patch:
        original = Archive.append

        def stopping(self, *arguments):
            if len(self):
                raise KeyboardInterrupt
            original(self, *arguments)

        patch.setattr(Archive, "append", stopping)
        try:
            make(tmp_path / "b", shape=(40, 56), weather=TINY)
        except KeyboardInterrupt:
            assert len(Archive(str(tmp_path / "b"))) == 11
        else:
            raise AssertionError("not stopped")
    assert make(tmp_path / "b", shape=(40, 56), weather=TINY).fingerprint == whole.fingerprint


def test_rain_rate_shares_are_those_of_table_2():
    """The map is exact; what is left is chance, so the mean of many episodes is held to 15 %."""
    levels = np.stack(
        [next(rain((240, 240), 1, key=(3, e), mean=0.45 * m)) for e, m in enumerate(normal_quantiles(150))]
    )
    shares = [(HKO7.rates[levels] >= t).mean() for t in THRESHOLDS]
    np.testing.assert_allclose(shares, [0.0975, 0.0537, 0.0291, 0.0156, 0.0042], rtol=0.15)


def normal_quantiles(n):
    from scipy.special import ndtri

    return ndtri((np.arange(n) + 0.5) / n)


def test_the_quantiles_are_those_of_table_2():
    from scipy.special import ndtr

    np.testing.assert_allclose(1 - ndtr(QUANTILES), [0.0975, 0.0537, 0.0291, 0.0156, 0.0042], rtol=0.01)


def test_rain_drifts_and_decays():
    frames = [frame.astype(float) for frame in rain((256, 256), 11, key=(1, 0), mean=0.5)]

    def likeness(a, b):
        """Correlation at the best of all shifts, and at none."""
        a, b = a - a.mean(), b - b.mean()
        product = np.fft.irfft2(np.fft.rfft2(a) * np.conj(np.fft.rfft2(b))) / np.sqrt((a**2).sum() * (b**2).sum())
        return product.max(), product[0, 0]

    near, far = likeness(frames[1], frames[0]), likeness(frames[10], frames[0])
    assert 0.6 < near[0] < 0.99
    assert far[0] < near[0] - 0.1, "it changes while it moves"
    assert far[1] < far[0] - 0.1, "it moves"


def test_the_mask_is_the_radars_circle():
    mask = radar_mask((480, 480), 7)
    assert (mask == 2).sum() == 50_260  # HKO-7's own count
    outliers = (mask == 1).sum()
    assert 1000 < outliers < 6000
    rows, columns = np.nonzero(mask == 1)
    near = np.hypot(rows - 239.5, columns - 239.5) < 40
    assert near.mean() > 0.3, "clutter crowds about the radar"


def test_demo_has_what_the_protocol_must_handle():
    splits = {}
    for w in DEMO:
        kept = np.setdiff1d(np.arange(w.frames), w.missing)
        splits.setdefault(w.split, []).append(minutes(w.start) + 6 * kept)
    assert set(splits) == {"train", "valid", "test"}
    walk = schedule(np.concatenate(splits["test"]))
    assert (len(walk), len(walk.episode_starts)) == (88, 2)
    years = {name: {int(str(np.datetime64(int(t[0]), "m"))[:4]) for t in parts} for name, parts in splits.items()}
    assert years == {"train": {2013}, "valid": {2014}, "test": {2015}}


def test_the_default_archive_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HKO7ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(synthetic, "DEMO", TINY)
    made = []
    monkeypatch.setattr(synthetic, "make", lambda *a, **k: made.append(make(*a, **{**k, "weather": TINY})))
    first = synthetic.default_archive((24, 24))
    assert synthetic.default_archive((24, 24)) == first
    assert len(made) == 1
    assert len(Archive(str(first))) == 19
