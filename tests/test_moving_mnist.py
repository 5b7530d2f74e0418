import gzip
import math
import struct
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.moving_mnist import data as moving_mnist
from agents.moving_mnist.data import (
    BOX,
    EXPONENT,
    FRAMES,
    IMAGES,
    OFFICIAL,
    PAPER_ROTATION,
    POOL,
    SIZE,
    Parameters,
    centres,
    draw,
    gains,
    official,
    read_idx,
    read_mnist,
    render,
)

ZERO = (5.60, 3.67, 2.63, 2.04, 1.68, 2.04, 2.63, 3.67, 5.60, 9.42)  # e-2, a lead; the all-zero forecast's


def shapes(count=40, seed=0):
    """(count, 28, 28) uint8 blots with the make-up of MNIST's digits: in the middle 20 x 20, black about it.

    A third has a black row inside, a third a black column, as one in eighty of MNIST's digits has.
    """
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    for number, image in enumerate(images):
        top, left = rng.integers(4, 10, 2)
        height, width = rng.integers(9, 25 - top), rng.integers(2, 25 - left)
        image[top : top + height, left : left + width] = rng.integers(0, 256, (height, width)) * (
            rng.random((height, width)) < 0.8
        )
        image[rng.integers(top, top + height), rng.integers(left, left + width)] = 255
        if number % 3 == 1:
            image[top + height // 2] = 0
        elif number % 3 == 2 and width > 2:
            image[:, left + width // 2] = 0
    return images


BLOTS = shapes()
POOLED = {"pool": len(BLOTS)}


def one(**given):
    """One digit, image 0, that stays as and where it is, but for what is given."""
    still = {"digit": 0, "rotation": 0.0, "scale": 1.0, "speed": 0.0, "heading": 0.0}
    values = {name: np.array([[given.get(name, value)]]) for name, value in still.items()}
    place = np.array([[given.get("place", (0.5, 0.5))]], float)
    return Parameters(**values, place=place, light=np.array([given.get("light", 1.0)]))


def box_of(image):
    """What the released generator keeps of a digit: rows and columns that are not all black, wherever they lie."""
    rows = [row for row in image.tolist() if any(row)]
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    return np.array(columns).T


# ---------------------------------------------------------------- another rendering, pixel by pixel


def slow_warp(crop, forward):
    """(64, 64): what a 2 x 3 forward matrix makes of a crop; inverse mapping, bilinear, black outside."""
    back = np.linalg.inv(np.vstack([forward, (0, 0, 1)]))
    height, width = crop.shape
    frame = np.zeros((SIZE, SIZE))
    for y in range(SIZE):
        for x in range(SIZE):
            u = back[0, 0] * x + back[0, 1] * y + back[0, 2]
            v = back[1, 0] * x + back[1, 1] * y + back[1, 2]
            if not (-1 < u < width and -1 < v < height):
                continue
            i, j = math.floor(v), math.floor(u)
            for row, weight in ((i, 1 - (v - i)), (i + 1, v - i)):
                for column, other in ((j, 1 - (u - j)), (j + 1, u - j)):
                    if 0 <= row < height and 0 <= column < width:
                        frame[y, x] += weight * other * float(crop[row, column])
    return frame


def slow_render(images, p):
    """(T, 64, 64) of the first sequence of ``p``: digit by digit, frame by frame, as the rule is told."""
    frames = np.zeros((FRAMES, SIZE, SIZE))
    for d in range(p.digit.shape[1]):
        crop = box_of(images[p.digit[0, d]])
        height, width = crop.shape
        shift = [p.place[0, d, 0] * (SIZE - width), p.place[0, d, 1] * (SIZE - height)]
        velocity = [p.speed[0, d] * math.cos(p.heading[0, d]), p.speed[0, d] * math.sin(p.heading[0, d])]
        zoom, light, angle = 1.0, 1.0, 0.0
        for t in range(FRAMES):
            if t:
                for axis, half in enumerate((width / 2, height / 2)):
                    shift[axis] += velocity[axis]
                    if shift[axis] + half < 10:
                        shift[axis], velocity[axis] = 10 - half, -velocity[axis]
                    elif shift[axis] + half > 54:
                        shift[axis], velocity[axis] = 54 - half, -velocity[axis]
                power = 1 if t // 5 % 2 == 0 else -1
                light, zoom = light * p.light[0] ** power, zoom / p.scale[0, d] ** power
                angle += math.radians(p.rotation[0, d])
            # OpenCV's getRotationMatrix2D about the middle of the crop, then the shift
            alpha, beta, cx, cy = zoom * math.cos(angle), zoom * math.sin(angle), width / 2, height / 2
            forward = np.array(
                [[alpha, beta, (1 - alpha) * cx - beta * cy], [-beta, alpha, beta * cx + (1 - alpha) * cy]]
            )
            forward[:, 2] += shift
            frames[t] = np.maximum(frames[t], light * slow_warp(crop, forward) / 255)
    return frames


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_sequence_equals_the_slow_rendering(seed):
    p = draw(seed, 0, 1, **POOLED)
    np.testing.assert_allclose(render(BLOTS, p)[0], slow_render(BLOTS, p), atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_a_single_digit_equals_the_slow_rendering(seed):
    p = draw(seed, 1, 1, **POOLED)
    p = Parameters(*(getattr(p, f.name)[:, :1] if f.name != "light" else p.light for f in fields(p)))
    np.testing.assert_allclose(render(BLOTS, p)[0], slow_render(BLOTS, p), atol=1e-5)


@pytest.mark.parametrize("row", [4321, 27])  # of 27 a digit has a black row or column inside
def test_an_official_sequence_equals_the_slow_rendering(shared, row):
    p = official(shared / "mnist")[row : row + 1]
    images = read_mnist(shared / "mnist")
    np.testing.assert_allclose(render(images, p)[0], slow_render(images, p), atol=1e-5)


def test_black_rows_and_columns_inside_a_digit_are_cut_out_by_hand():
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 5, 4], images[0, 8, 9] = 102, 204
    images[1, 0, 27], images[1, 27, 0] = 204, 102  # from edge to edge
    expected = np.zeros((2, SIZE, SIZE))
    expected[0, 0, 0], expected[0, 1, 1] = 0.4, 0.8
    expected[1, 0, 1], expected[1, 1, 0] = 0.8, 0.4
    for digit in (0, 1):
        frame = render(images, one(digit=digit, place=(0, 0)))[0, 0]
        np.testing.assert_allclose(frame, expected[digit], atol=1e-6)


def test_as_many_of_mnists_digits_have_gaps_as_the_official_ones(shared):
    images = read_mnist(shared / "mnist")[:POOL]
    gaps = np.zeros(len(images), bool)
    for axis in (1, 2):
        used = images.any(axis)
        runs = np.diff(used.astype(int), axis=1, prepend=0) == 1
        gaps |= runs.sum(1) > 1
    assert gaps.sum() == 504
    assert gaps[official(shared / "mnist").digit].any(1).sum() == 366


def everywhere(images, p):
    """The rendering that a GPU does, on the CPU."""
    chosen = moving_mnist._without_gaps(images[p.digit])
    corner, size = moving_mnist._boxes(chosen)
    pixels = torch.from_numpy(chosen).float().flatten(0, 1)[:, None]
    light = (gains(p) / 255).astype(np.float32)
    return moving_mnist._whole(pixels, light, *moving_mnist._maps(p, corner, size))


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=20)
def test_squares_hold_all_of_a_digit(seed, batch):
    p = draw(seed, 0, batch, **POOLED)
    torch.testing.assert_close(render(BLOTS, p), everywhere(BLOTS, p), atol=3e-5, rtol=0)


def test_digits_beyond_mnists_are_rendered_too():
    """The largest box there can be, turned by an eighth and enlarged, fills the frame; a blank image shows nothing."""
    images = np.stack([np.full((28, 28), 255, np.uint8), np.zeros((28, 28), np.uint8)])
    large, blank = one(scale=0.8, rotation=9.0), one(digit=1, rotation=9.0)
    torch.testing.assert_close(render(images, large), everywhere(images, large), atol=3e-5, rtol=0)
    assert not render(images, blank).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_agrees_with_the_cpu():
    p = draw(0, 0, 32, **POOLED)
    torch.testing.assert_close(render(BLOTS, p, "cuda").cpu(), render(BLOTS, p), atol=3e-5, rtol=0)


# ---------------------------------------------------------------- laws of the rendering


@given(st.integers(0, 2**32), st.integers(2, 9), st.data())
@settings(max_examples=20)
def test_a_sequence_does_not_depend_on_its_batch(seed, batch, data):
    p = draw(seed, 0, batch, **POOLED)
    start = data.draw(st.integers(0, batch - 1))
    stop = data.draw(st.integers(start + 1, batch))
    assert torch.equal(render(BLOTS, p)[start:stop], render(BLOTS, p[start:stop]))


@given(st.integers(0, 2**32), st.integers(0, len(BLOTS) - 1))
@settings(max_examples=20)
def test_the_first_frame_is_the_digit_at_its_place(seed, digit):
    crop = box_of(BLOTS[digit])
    rng = np.random.default_rng(seed)
    y, x = (int(rng.integers(0, SIZE - n + 1)) for n in crop.shape)
    place = (x / (SIZE - crop.shape[1]), y / (SIZE - crop.shape[0]))
    frames = render(BLOTS, one(digit=digit, place=place, rotation=17.0, scale=1.05, speed=2.0, light=0.7))[0]
    expected = np.zeros((SIZE, SIZE))
    expected[y : y + crop.shape[0], x : x + crop.shape[1]] = crop / 255
    np.testing.assert_allclose(frames[0], expected, atol=1e-5)


@given(st.integers(0, 2**32), st.floats(0.6, 1))
@settings(max_examples=20)
def test_light_is_one_factor_of_a_frame(seed, light):
    p = draw(seed, 0, 1, **POOLED)
    dark = render(BLOTS, replace(p, light=np.array([light])))
    lit = render(BLOTS, replace(p, light=np.ones(1)))
    factor = torch.tensor(light ** np.array((0, 1, 2, 3, 4, 3, 2, 1, 0, -1) * 2), dtype=torch.float32)
    torch.testing.assert_close(dark[0], lit[0] * factor[:, None, None], rtol=1e-5, atol=1e-7)
    assert lit.max() <= 1 + 1e-6


def test_the_brightest_frames_pass_one():
    assert render(BLOTS, one(digit=int(BLOTS.max((1, 2)).argmax()), light=0.6)).amax((2, 3))[0, 9] > 1.2


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_the_brightest_digit_shows(seed):
    p = draw(seed, 0, 1, **POOLED)
    each = [
        Parameters(*(getattr(p, f.name)[:, d : d + 1] if f.name != "light" else p.light for f in fields(p)))
        for d in range(3)
    ]
    assert torch.equal(render(BLOTS, p), torch.stack([render(BLOTS, q) for q in each]).amax(0))


@given(st.integers(0, 2**32), st.floats(2, 20), st.floats(2, 20))
def test_centres_stay_in_the_box(seed, width, height):
    p = draw(seed, 0, 4)
    path = centres(p, np.broadcast_to((width, height), (4, 3, 2)))
    assert path.shape == (4, 3, FRAMES, 2)
    assert (path[:, :, 1:] >= BOX[0]).all()
    assert (path[:, :, 1:] <= BOX[1]).all()
    steps = np.hypot(*np.moveaxis(np.diff(path[:, :, 1:], axis=2), -1, 0))
    assert (steps <= p.speed[..., None] + 1e-9).all()


def test_bouncing_by_hand():
    """Moving right at 3.5 px a frame from 47: put on the wall at 54, then back at full speed."""
    p = one(place=(0.75, 0.5), speed=3.5)
    x, y = centres(p, np.array([[(8.0, 20.0)]]))[0, 0].T
    np.testing.assert_allclose(x[:7], (46, 49.5, 53, 54, 50.5, 47, 43.5))
    np.testing.assert_allclose(y, 32)
    # From outside: put on the wall at once and turned round, so it goes away from the box and sticks a frame longer.
    x, _ = centres(one(place=(0, 0.5), speed=3.0), np.array([[(4.0, 4.0)]]))[0, 0].T
    np.testing.assert_allclose(x[:5], (2, 10, 10, 13, 16))


def test_a_turn_is_counter_clockwise():
    """An upright bar with a bright top: after a quarter turn the bright end is at the left."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 13:15], image[0, 4:8, 13:15] = 60, 255
    frame = render(image, one(rotation=90.0))[0, 1].numpy()
    row, column = np.argwhere(frame == frame.max()).mean(0)
    assert abs(row - 31.5) < 1.1
    assert column < 26


@pytest.mark.parametrize(("frame", "factor"), [(1, 1.1), (4, 1.1**4), (9, 1 / 1.1), (14, 1.1**4)])
def test_a_digit_grows_while_it_darkens(frame, factor):
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 4:24] = 255
    area = render(image, one(scale=1 / 1.1))[0].sum((1, 2)).numpy()
    # bilinear sampling of a bright square: the edge is one pixel of the image wide, half of it outside
    assert area[frame] / area[0] == pytest.approx(factor**2, rel=0.02)


# ---------------------------------------------------------------- the stream of draws


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=30)
@example(2**64 - 1, 0, 3, 2)
def test_batches_of_any_size_walk_one_stream(seed, index, batch, pieces):
    whole = draw(seed, index, batch * pieces)
    for k in range(pieces):
        part = draw(seed, index * pieces + k, batch)
        for f in fields(Parameters):
            np.testing.assert_array_equal(getattr(part, f.name), getattr(whole[k * batch : (k + 1) * batch], f.name))


def test_other_seeds_and_sequences_are_others():
    first, second, third = draw(0, 0, 500).light, draw(1, 0, 500).light, draw(0, 1, 500).light
    assert len(np.unique(np.concatenate([first, second, third]))) == 1500


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("digit", 0, POOL), ("place", 0, 1), ("rotation", -30, 30), ("scale", 1 / 1.1, 1.1),
        ("speed", 0, 3.6), ("heading", 0, 2 * np.pi), ("light", 0.6, 1),
    ],
)  # fmt: skip
def test_draws_are_uniform_in_their_ranges(name, low, high):
    values = (getattr(draw(3, 0, 20_000), name).reshape(-1).astype(float) - low) / (high - low)
    assert values.min() >= 0
    assert values.max() < 1
    tolerance = 5 / np.sqrt(len(values))
    for power in (1, 2, 3):
        assert (values**power).mean() == pytest.approx(1 / (power + 1), abs=0.3 * tolerance)


def test_draws_do_not_go_together():
    p = draw(5, 0, 20_000)
    columns = [getattr(p, f.name).reshape(len(p), -1).astype(float) for f in fields(p)]
    found = np.corrcoef(np.concatenate(columns, 1).T) - np.eye(22)
    assert np.abs(found).max() < 5 / np.sqrt(len(p))


def test_the_stream_stays_what_it_was():
    """A change here changes what every model is trained on: give RULE_VERSION and the changelog a line."""
    p = draw(7, 2, 2)
    assert moving_mnist.RULE_VERSION == 2
    np.testing.assert_array_equal(p.digit, [[5007, 22038, 20767], [15720, 35774, 37750]])
    np.testing.assert_allclose(p.light, [0.6589383177953548, 0.6070369847422169], rtol=1e-12)
    np.testing.assert_allclose(p.heading[1], [4.931774942949003, 4.196327062917768, 3.1745020150604395], rtol=1e-12)


def test_the_papers_rotation_is_an_option():
    code, paper = draw(0, 0, 100), draw(0, 0, 100, rotation=PAPER_ROTATION)
    np.testing.assert_allclose(paper.rotation, code.rotation / 2)
    assert np.abs(paper.rotation).max() <= 15
    np.testing.assert_array_equal(paper.place, code.place)


# ---------------------------------------------------------------- the official test set


def errors(images, p, rows=100):
    """Mean squared errors a lead of nothing, last frame and last frame in the true light, (3, 10) float64."""
    total = np.zeros((3, 10))
    for start in range(0, len(p), rows):
        part = p[start : start + rows]
        frames, gain = render(images, part), torch.from_numpy(gains(part)).float()[..., None, None]
        truth, last = frames[:, 10:], frames[:, 9:10]
        for i, forecast in enumerate((0 * truth, last, last / gain[:, 9:10] * gain[:, 10:])):
            total[i] += ((forecast - truth).double() ** 2).mean((2, 3)).sum(0).numpy()
    return total / len(p)


@pytest.mark.slow
def test_the_official_sequences_give_the_reference_figures(shared):
    found = errors(read_mnist(shared / "mnist"), official(shared / "mnist"))
    np.testing.assert_array_equal((1e2 * found[0]).round(2), ZERO)
    assert tuple((1e2 * found.mean(1)).round(3)) == (3.897, 9.562, 5.144)


def test_the_first_official_sequences_give_the_same_figures(shared):
    """Of 500 of those that gave the reference figures; the slow rendering gives them to 2e-8 of their value."""
    found = errors(read_mnist(shared / "mnist"), official(shared / "mnist")[:500])
    np.testing.assert_allclose(1e2 * found.mean(1), (3.831168, 9.484152, 5.117285), rtol=1e-4)


def test_figures_of_synthetic_digits():
    """Light acts on the all-zero forecast as E[m^2E], whatever the digits are."""
    p = draw(0, 0, 400, **POOLED)
    p = replace(p, rotation=0 * p.rotation, scale=0 * p.scale + 1, speed=0 * p.speed)
    found = errors(BLOTS, p)
    # Nothing moves after the snap to the box at t = 1, so only the light changes.
    frames = render(BLOTS, replace(p, light=np.ones(400)))[:, 19].double().pow(2).mean((1, 2)).numpy()
    np.testing.assert_allclose(found[0], (frames[:, None] * gains(p)[:, 10:] ** 2).mean(0), rtol=1e-5)
    assert found[2].max() < 1e-9


def test_the_official_draws_follow_the_rule(shared):
    p = official(shared / "mnist")
    assert p.digit.shape == (10_000, 3)
    assert len(np.unique(p.digit)) == 21_124
    for f in fields(p):
        expected = getattr(draw(0, 0, 10_000), f.name)
        assert getattr(p, f.name).mean() == pytest.approx(expected.mean(), abs=0.05 * expected.std())


# ---------------------------------------------------------------- files


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
    with pytest.raises(FileNotFoundError, match=f"looked for in {tmp_path}$"):
        read_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"movingmnist_10000_nodistr\.npz .*/HKO-7 has it.* looked for at"):
        official(tmp_path / "no.npz")
    monkeypatch.setenv("HKO7ENV_MNIST", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="which HKO7ENV_MNIST names"):
        official()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"<html>not found</html>", "no IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "no IDX file of bytes"),
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
    assert "fetch it again" in str(error.value) or "is needed" in str(error.value)


def write_official(folder, **changed):
    p = draw(0, 0, 6)
    arrays = {theirs: getattr(p, ours) for ours, theirs in moving_mnist._NAMES.items()} | changed
    np.savez_compressed(folder / OFFICIAL[0], **{name: a for name, a in arrays.items() if a is not None})
    return folder / OFFICIAL[0]


def test_an_official_file_is_read(tmp_path):
    write_official(tmp_path)
    p = official(tmp_path)
    for f in fields(p):
        np.testing.assert_array_equal(getattr(p, f.name), getattr(draw(0, 0, 6), f.name))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"digit_indices": None}, "There is no item named 'digit_indices.npy'"),
        ({"digit_indices": np.full((6, 3), 40_000)}, "digit_indices leaves 0 to 4e"),
        ({"appearance_mult": np.full(6, np.nan)}, "light has values that are not finite"),
        ({"appearance_mult": np.full(5, 0.7)}, "light has the shape"),
        ({"appearance_mult": np.array([None] * 6)}, "pickle"),
        ({"base_rotation_angle": np.full((6, 3), 31.0)}, "base_rotation_angle leaves -30 to 30"),
        ({"base_rotation_angle": np.full((6, 3), "x")}, "not numbers"),
    ],
)
def test_another_official_file_is_named(tmp_path, changed, message):
    file = write_official(tmp_path, **changed)
    with pytest.raises(ValueError, match=message) as error:
        official(tmp_path)
    assert str(file) in str(error.value)
    assert "fetch it again" in str(error.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b[:200] + bytes(50) + b[250:]])
def test_a_damaged_official_file_is_named(tmp_path, damage):
    file = write_official(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"cannot be read .* fetch it again"):
        official(tmp_path)


# ---------------------------------------------------------------- errors


def test_what_does_not_fit_is_named():
    p = draw(0, 0, 2, **POOLED)
    with pytest.raises(ValueError, match=r"speed has the shape \(2, 3\) beside digit's \(2, 3\), got \(2, 2\)"):
        replace(p, speed=p.speed[:, :2])
    with pytest.raises(ValueError, match=r"digit has the shape \(B, D\)"):
        replace(p, digit=p.digit[0])
    with pytest.raises(ValueError, match="scale and light are factors above 0"):
        replace(p, light=p.light * 0)
    with pytest.raises(ValueError, match="image 39 is asked for, there are 5"):
        render(BLOTS[:5], replace(p, digit=p.digit * 0 + 39))
    with pytest.raises(ValueError, match=r"images \(N, 28, 28\) uint8 are needed, got \(40, 28, 28\) float64"):
        render(BLOTS / 255, p)
    for wrong in ((-1, 0, 1), (0, -1, 1), (0, 0, 0), (2**64, 0, 1)):
        with pytest.raises(ValueError, match="are needed, got"):
            draw(*wrong)
    assert len(EXPONENT) == FRAMES
