import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.moving_mnist import rendering
from agents.moving_mnist.data import BOX, EXPONENT, FRAMES, POOL, SIZE, Parameters, draw_parameters
from agents.moving_mnist.files import read_mnist, read_official
from agents.moving_mnist.rendering import compute_brightness, compute_centres, render
from tests.helpers.digits import BLOTS, POOLED, crop_digit, still_digit


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
        crop = crop_digit(images[p.digit[0, d]])
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
    p = draw_parameters(seed, 0, 1, **POOLED)
    np.testing.assert_allclose(render(BLOTS, p)[0], slow_render(BLOTS, p), atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_a_single_digit_equals_the_slow_rendering(seed):
    p = draw_parameters(seed, 1, 1, **POOLED)
    p = Parameters(*(getattr(p, f.name)[:, :1] if f.name != "light" else p.light for f in fields(p)))
    np.testing.assert_allclose(render(BLOTS, p)[0], slow_render(BLOTS, p), atol=1e-5)


@pytest.mark.parametrize("row", [4321, 27])  # of 27 a digit has a black row or column inside
def test_an_official_sequence_equals_the_slow_rendering(shared, row):
    p = read_official(shared / "mnist")[row : row + 1]
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
        frame = render(images, still_digit(digit=digit, place=(0, 0)))[0, 0]
        np.testing.assert_allclose(frame, expected[digit], atol=1e-6)


def test_as_many_of_mnists_digits_have_gaps_as_the_official_ones(shared):
    images = read_mnist(shared / "mnist")[:POOL]
    gaps = np.zeros(len(images), bool)
    for axis in (1, 2):
        used = images.any(axis)
        runs = np.diff(used.astype(int), axis=1, prepend=0) == 1
        gaps |= runs.sum(1) > 1
    assert gaps.sum() == 504
    assert gaps[read_official(shared / "mnist").digit].any(1).sum() == 366


def everywhere(images, p):
    """The rendering that a GPU does, on the CPU."""
    chosen = rendering._remove_gaps(images[p.digit])
    corner, size = rendering._find_boxes(chosen)
    pixels = torch.from_numpy(chosen).float().flatten(0, 1)[:, None]
    light = (compute_brightness(p) / 255).astype(np.float32)
    return rendering._render_whole(pixels, light, *rendering._map_to_images(p, corner, size))


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=20)
def test_squares_hold_all_of_a_digit(seed, batch):
    p = draw_parameters(seed, 0, batch, **POOLED)
    torch.testing.assert_close(render(BLOTS, p), everywhere(BLOTS, p), atol=3e-5, rtol=0)


def test_digits_beyond_mnists_are_rendered_too():
    """The largest box there can be, turned by an eighth and enlarged, fills the frame; a blank image shows nothing."""
    images = np.stack([np.full((28, 28), 255, np.uint8), np.zeros((28, 28), np.uint8)])
    large, blank = still_digit(scale=0.8, rotation=9.0), still_digit(digit=1, rotation=9.0)
    torch.testing.assert_close(render(images, large), everywhere(images, large), atol=3e-5, rtol=0)
    assert not render(images, blank).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_agrees_with_the_cpu():
    p = draw_parameters(0, 0, 32, **POOLED)
    torch.testing.assert_close(render(BLOTS, p, "cuda").cpu(), render(BLOTS, p), atol=3e-5, rtol=0)


# ---------------------------------------------------------------- laws of the rendering


@given(st.integers(0, 2**32), st.integers(2, 9), st.data())
@settings(max_examples=20)
def test_a_sequence_does_not_depend_on_its_batch(seed, batch, data):
    p = draw_parameters(seed, 0, batch, **POOLED)
    start = data.draw(st.integers(0, batch - 1))
    stop = data.draw(st.integers(start + 1, batch))
    assert torch.equal(render(BLOTS, p)[start:stop], render(BLOTS, p[start:stop]))


@given(st.integers(0, 2**32), st.integers(0, len(BLOTS) - 1))
@settings(max_examples=20)
def test_the_first_frame_is_the_digit_at_its_place(seed, digit):
    crop = crop_digit(BLOTS[digit])
    rng = np.random.default_rng(seed)
    y, x = (int(rng.integers(0, SIZE - n + 1)) for n in crop.shape)
    place = (x / (SIZE - crop.shape[1]), y / (SIZE - crop.shape[0]))
    frames = render(BLOTS, still_digit(digit=digit, place=place, rotation=17.0, scale=1.05, speed=2.0, light=0.7))[0]
    expected = np.zeros((SIZE, SIZE))
    expected[y : y + crop.shape[0], x : x + crop.shape[1]] = crop / 255
    np.testing.assert_allclose(frames[0], expected, atol=1e-5)


@given(st.integers(0, 2**32), st.floats(0.6, 1))
@settings(max_examples=20)
def test_light_is_one_factor_of_a_frame(seed, light):
    p = draw_parameters(seed, 0, 1, **POOLED)
    dark = render(BLOTS, replace(p, light=np.array([light])))
    lit = render(BLOTS, replace(p, light=np.ones(1)))
    factor = torch.tensor(light ** np.array((0, 1, 2, 3, 4, 3, 2, 1, 0, -1) * 2), dtype=torch.float32)
    torch.testing.assert_close(dark[0], lit[0] * factor[:, None, None], rtol=1e-5, atol=1e-7)
    assert lit.max() <= 1 + 1e-6


def test_the_brightest_frames_pass_one():
    assert render(BLOTS, still_digit(digit=int(BLOTS.max((1, 2)).argmax()), light=0.6)).amax((2, 3))[0, 9] > 1.2


@given(st.integers(0, 2**32))
@settings(max_examples=30)
def test_the_brightest_digit_shows(seed):
    p = draw_parameters(seed, 0, 1, **POOLED)
    each = [
        Parameters(*(getattr(p, f.name)[:, d : d + 1] if f.name != "light" else p.light for f in fields(p)))
        for d in range(3)
    ]
    assert torch.equal(render(BLOTS, p), torch.stack([render(BLOTS, q) for q in each]).amax(0))


@given(st.integers(0, 2**32), st.floats(2, 20), st.floats(2, 20))
def test_centres_stay_in_the_box(seed, width, height):
    p = draw_parameters(seed, 0, 4)
    path = compute_centres(p, np.broadcast_to((width, height), (4, 3, 2)))
    assert path.shape == (4, 3, FRAMES, 2)
    assert (path[:, :, 1:] >= BOX[0]).all()
    assert (path[:, :, 1:] <= BOX[1]).all()
    steps = np.hypot(*np.moveaxis(np.diff(path[:, :, 1:], axis=2), -1, 0))
    assert (steps <= p.speed[..., None] + 1e-9).all()


def test_bouncing_by_hand():
    """Moving right at 3.5 px a frame from 47: put on the wall at 54, then back at full speed."""
    p = still_digit(place=(0.75, 0.5), speed=3.5)
    x, y = compute_centres(p, np.array([[(8.0, 20.0)]]))[0, 0].T
    np.testing.assert_allclose(x[:7], (46, 49.5, 53, 54, 50.5, 47, 43.5))
    np.testing.assert_allclose(y, 32)
    # From outside: put on the wall at once and turned round, so it goes away from the box and sticks a frame longer.
    x, _ = compute_centres(still_digit(place=(0, 0.5), speed=3.0), np.array([[(4.0, 4.0)]]))[0, 0].T
    np.testing.assert_allclose(x[:5], (2, 10, 10, 13, 16))


def test_a_turn_is_counter_clockwise():
    """An upright bar with a bright top: after a quarter turn the bright end is at the left."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 13:15], image[0, 4:8, 13:15] = 60, 255
    frame = render(image, still_digit(rotation=90.0))[0, 1].numpy()
    row, column = np.argwhere(frame == frame.max()).mean(0)
    assert abs(row - 31.5) < 1.1
    assert column < 26


@pytest.mark.parametrize(("frame", "factor"), [(1, 1.1), (4, 1.1**4), (9, 1 / 1.1), (14, 1.1**4)])
def test_a_digit_grows_while_it_darkens(frame, factor):
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 4:24] = 255
    area = render(image, still_digit(scale=1 / 1.1))[0].sum((1, 2)).numpy()
    # bilinear sampling of a bright square: the edge is one pixel of the image wide, half of it outside
    assert area[frame] / area[0] == pytest.approx(factor**2, rel=0.02)


def test_what_does_not_fit_is_named():
    p = draw_parameters(0, 0, 2, **POOLED)
    with pytest.raises(ValueError, match=r"speed has the shape \(2, 3\) beside digit's \(2, 3\), got \(2, 2\)"):
        replace(p, speed=p.speed[:, :2])
    with pytest.raises(ValueError, match=r"digit has the shape \(B, D\)"):
        replace(p, digit=p.digit[0])
    with pytest.raises(ValueError, match="scale and light must be above 0"):
        replace(p, light=p.light * 0)
    with pytest.raises(ValueError, match="image 39 is needed, there are 5"):
        render(BLOTS[:5], replace(p, digit=p.digit * 0 + 39))
    with pytest.raises(ValueError, match=r"images \(N, 28, 28\) uint8 are needed, got \(40, 28, 28\) float64"):
        render(BLOTS / 255, p)
    for wrong in ((-1, 0, 1), (0, -1, 1), (0, 0, 0), (2**64, 0, 1)):
        with pytest.raises(ValueError, match="are needed, got"):
            draw_parameters(*wrong)
    assert len(EXPONENT) == FRAMES
