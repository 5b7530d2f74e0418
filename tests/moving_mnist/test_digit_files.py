import gzip
import struct
from dataclasses import fields

import numpy as np
import pytest

from agents.moving_mnist.data import draw_parameters
from agents.moving_mnist.files import _NAMES, IMAGES, OFFICIAL, read_idx, read_mnist, read_official
from tests.helpers.digits import BLOTS


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("by", ["folder", "file", "variable"])
def test_mnist_is_read(tmp_path, monkeypatch, packed, by):
    file = tmp_path / (IMAGES + ".gz" * packed)
    file.write_bytes(gzip.compress(idx(BLOTS)) if packed else idx(BLOTS))
    if by == "variable":
        monkeypatch.setenv("HKO7ENV_MNIST", str(tmp_path))
    given = {"folder": [tmp_path], "file": [str(file)], "variable": []}[by]
    np.testing.assert_array_equal(read_mnist(*given), BLOTS)


def test_labels_are_read(tmp_path):
    labels = np.arange(10, dtype=np.uint8)
    (tmp_path / "labels").write_bytes(idx(labels))
    np.testing.assert_array_equal(read_idx(tmp_path / "labels"), labels)


def test_mnist_itself(shared):
    images = read_mnist(shared / "mnist")
    assert images.shape == (60_000, 28, 28)
    assert images.mean() / 255 == pytest.approx(0.13066, abs=1e-5)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("HKO7ENV_MNIST", raising=False)
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz or .* the environment variable HKO7ENV"):
        read_mnist()
    with pytest.raises(FileNotFoundError, match=f"There is none in {tmp_path}$"):
        read_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"movingmnist_10000_nodistr\.npz .*sxjscience/HKO-7. There is none at"):
        read_official(tmp_path / "no.npz")
    monkeypatch.setenv("HKO7ENV_MNIST", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="the value of HKO7ENV_MNIST"):
        read_official()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"<html>not found</html>", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file of bytes"),
        (idx(BLOTS)[:6], "ends in its header"),
        (idx(BLOTS)[:-1], "has 31375 bytes, its header says 31376"),
        (idx(BLOTS) + b"\0", "has 31377 bytes"),
        (gzip.compress(idx(BLOTS))[:-9], "is damaged"),
        (gzip.compress(idx(BLOTS))[:-8] + bytes(8), "is damaged"),
        (idx(np.zeros(5, np.uint8)), r"holds \(5,\), not images"),
        (idx(np.zeros((0, 28, 28), np.uint8)), "not images"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_mnist_is_named(tmp_path, content, message):
    (tmp_path / IMAGES).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_mnist(tmp_path)
    assert str(tmp_path / IMAGES) in str(error.value)
    assert "download it again" in str(error.value) or "is needed" in str(error.value)


def write_official(folder, **changed):
    p = draw_parameters(0, 0, 6)
    arrays = {theirs: getattr(p, ours) for ours, theirs in _NAMES.items()} | changed
    np.savez_compressed(folder / OFFICIAL[0], **{name: a for name, a in arrays.items() if a is not None})
    return folder / OFFICIAL[0]


def test_an_official_file_is_read(tmp_path):
    write_official(tmp_path)
    p = read_official(tmp_path)
    for f in fields(p):
        np.testing.assert_array_equal(getattr(p, f.name), getattr(draw_parameters(0, 0, 6), f.name))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"digit_indices": None}, "There is no item named 'digit_indices.npy'"),
        ({"digit_indices": np.full((6, 3), 40_000)}, "digit_indices has values outside 0 to 4e"),
        ({"appearance_mult": np.full(6, np.nan)}, "light has values that are not finite"),
        ({"appearance_mult": np.full(5, 0.7)}, "light has the shape"),
        ({"appearance_mult": np.array([None] * 6)}, "pickle"),
        ({"base_rotation_angle": np.full((6, 3), 31.0)}, "base_rotation_angle has values outside -30 to 30"),
        ({"base_rotation_angle": np.full((6, 3), "x")}, "not numbers"),
    ],
)
def test_another_official_file_is_named(tmp_path, changed, message):
    file = write_official(tmp_path, **changed)
    with pytest.raises(ValueError, match=message) as error:
        read_official(tmp_path)
    assert str(file) in str(error.value)
    assert "download it again" in str(error.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b[:200] + bytes(50) + b[250:]])
def test_a_damaged_official_file_is_named(tmp_path, damage):
    file = write_official(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"cannot be read .* download it again"):
        read_official(tmp_path)
