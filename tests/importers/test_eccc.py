import numpy as np
import pytest

from hko7env.archive.format import iso
from hko7env.importers import import_radar
from hko7env.units import HKO7


def test_colours_become_rates_whatever_the_palette(source, tmp_path):
    archive, problems = import_radar("eccc", source, tmp_path / "a.zarr")
    assert problems == []
    assert np.diff(archive.times).tolist() == [6, 6, 12, 6]
    frames = archive.frames(0, 5)
    for frame, i in zip(frames, (0, 1, 2, 4, 5), strict=True):
        rate = HKO7.rates[frame]
        assert rate[104 + i, 204] == pytest.approx(40, rel=0.02)  # class 32 to 50 mm/h
        assert rate[304, 154] == pytest.approx(np.sqrt(0.1), rel=0.02)
        assert rate[64, 364] == pytest.approx(200, rel=0.02)
        assert np.count_nonzero(frame) == 3 * 81, "logo, frame, cross and border lines are no echo"
    assert (archive.mask[239, 235:246] == 2).all(), "the cross"
    assert (archive.mask[234:245, 240] == 2).all()
    assert archive.mask[233, 240] == archive.mask[238, 239] == 0
    assert archive.mask[239, 0] == archive.mask[0, 0] == 2
    assert archive.mask[239, 1] == archive.mask[1, 240] == 0
    assert (archive.x[240], archive.y[239]) == (0, 0)
    assert archive.y[0] > archive.y[-1]


@pytest.mark.slow
def test_real_station_gore(shared, tmp_path):
    archive, problems = import_radar("eccc", shared / "eccc" / "CASGO", tmp_path / "casgo.zarr")
    assert (len(archive), problems) == (478, [])
    gaps = np.flatnonzero(np.diff(archive.times) != 6)
    assert [iso(archive.times[i]) for i in gaps] == ["2024-07-11T16:12", "2024-07-12T16:12"]
    frames = archive.frames(0, 478)
    assert 0.01 < (HKO7.rates[frames] >= 0.5).mean() < 0.5
    assert not frames[:, archive.mask == 2].any()
    # 14 classes and no echo: no other level can occur
    assert len(np.unique(frames)) <= 15
