"""Masks from .npz files: what is damaged or claims too much is refused by name."""

import numpy as np
import pytest

from hko7env.archive.clutter import load_mask
from hko7env.damage import DamagedFile
from tests.helpers.mask_files import npz
from tests.helpers.memory import limited_memory


@pytest.fixture
def little_memory():
    with limited_memory():
        yield


@pytest.mark.parametrize(
    "words, reason",
    [
        ({"shape": (10**5, 10**5)}, "mask has a header of 100000 x 100000 values and holds 6"),
        ({"shape": (10**10, 10**10)}, "mask has a header of"),
        ({"shape": (6,)}, r"mask is uint8 \(6,\), expected integers"),
        ({"dtype": "|S1"}, "mask is .*S1"),
        ({"dtype": "|O"}, "mask is object"),
        ({"dtype": "<f8", "data": bytes(48)}, "mask is float64"),
        ({"data": bytes([0, 1, 2, 3, 0, 0])}, "codes other than 0, 1 and 2"),
        ({"name": "outlier_mask.npy"}, "holds neither"),
    ],
)
def test_masks_that_claim_what_they_do_not_hold(tmp_path, little_memory, words, reason):
    with pytest.raises(DamagedFile, match=rf"m\.npz is not an \.npz file of a mask \(.*{reason}"):
        load_mask(npz(tmp_path / "m.npz", **words))


def test_masks_of_other_files_and_bombs(tmp_path, monkeypatch):
    np.save(tmp_path / "m.npy", np.zeros((4, 4), np.uint8))
    whole = npz(tmp_path / "m.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-30])
    (tmp_path / "flipped.npz").write_bytes(whole[:60] + bytes([whole[60] ^ 16]) + whole[61:])
    npz(tmp_path / "bomb.npz", (300, 300), data=bytes(90_000))
    monkeypatch.setattr("hko7env.archive.clutter.MAX_FRAME_VALUES", 10_000)
    for name, why in (("m.npy", "zip"), ("cut.npz", "zip"), ("flipped.npz", ""), ("bomb.npz", "mask has 90128 bytes")):
        with pytest.raises(DamagedFile, match=rf"{name} is not an \.npz file of a mask \(.*{why}"):
            load_mask(tmp_path / name)
    np.testing.assert_array_equal(load_mask(tmp_path / "m.npz"), np.zeros((2, 3)))
    with pytest.raises(FileNotFoundError, match=r"gone\.npz"):
        load_mask(tmp_path / "gone.npz")
