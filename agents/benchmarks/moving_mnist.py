"""Rendering MovingMNIST++ sequences, compared with one warp per digit and frame; errors of trivial forecasts."""

import argparse
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import affine_transform

from hko7env import progress

from ..moving_mnist.data import EXPONENT, FRAMES, POOL, SEEN, SIZE, draw_parameters
from ..moving_mnist.files import read_mnist, read_official
from ..moving_mnist.rendering import compute_brightness, compute_centres, render
from .timing import Line, compare, lines

BATCH, FEW = 32, 2  # sequences rendered at a time, and by the slow reference
REFERENCE = "moving_mnist/single warps, one thread"
WORKERS = "moving_mnist/hko7env, two workers of one thread"

Images = npt.NDArray[np.uint8]


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Sequences a second on one core and on two, then the errors if MNIST is there.

    Two workers of one thread and a batch each use two cores better than two threads for every operation, and lose less
    where other processes use the cores too.
    """
    images = read_mnist(args.mnist) if args.mnist else noise_digits()
    numbers = itertools.count()

    def parameters(count: int) -> Any:
        return draw_parameters(0, next(numbers), count, pool=min(len(images), POOL))

    sample = parameters(FEW)
    assert np.allclose(single_warps(images, sample), render(images, sample).numpy(), atol=1e-4)
    medians = _time(images, parameters, args.rounds)
    rendered = {REFERENCE: FEW, WORKERS: 2 * BATCH}
    medians = {name: seconds / rendered.get(name, BATCH) for name, seconds in medians.items()}
    for each in lines(medians, REFERENCE, "ms/sequence", size=FRAMES * SIZE**2 * 4):
        yield each | {"sequences a second": round(1 / medians[each["name"]])}
    if args.mnist:
        yield from official_figures(images, read_official(args.mnist))


def noise_digits() -> Images:
    """(1000, 28, 28) noise in a box of the mean size of MNIST's digits."""
    images = np.zeros((1000, 28, 28), np.uint8)
    images[:, 4:24, 6:22] = np.random.default_rng(0).integers(0, 256, (1000, 20, 16))
    return images


def _time(images: Images, parameters: Callable[[int], Any], rounds: int) -> dict[str, float]:
    """Median seconds of each job, which renders FEW, BATCH or 2 BATCH sequences."""
    threads = torch.get_num_threads()

    def ours(count: int) -> Callable[[], Any]:
        def work() -> None:
            torch.set_num_threads(count)
            render(images, parameters(BATCH))

        return work

    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        jobs = {
            REFERENCE: lambda: single_warps(images, parameters(FEW)),
            "moving_mnist/hko7env, one thread": ours(1),
            "moving_mnist/hko7env, two threads": ours(2),
            WORKERS: lambda: [done.result() for done in [pool.submit(ours(1)) for _ in range(2)]],
        }
        medians = compare(jobs, rounds)
    torch.set_num_threads(threads)
    return medians


def single_warps(images: Images, parameters: Any) -> npt.NDArray[np.float32]:
    """The reference: one warp of a whole frame for each digit and frame, as the released generator calls OpenCV.

    Returns:
        (B, FRAMES, SIZE, SIZE) float32 pixels, B the number of ``parameters``.
    """
    frames = np.zeros((len(parameters), FRAMES, SIZE, SIZE), np.float32)
    for b, digits in enumerate(parameters.digit):
        used = [[np.flatnonzero(images[digit].any(axis)) for axis in (0, 1)] for digit in digits]
        crops = [images[k][np.ix_(r, c)] for k, (c, r) in zip(digits, used, strict=True)]
        sizes = np.array([[crop.shape[::-1] for crop in crops]], float)
        paths = compute_centres(parameters[b : b + 1], sizes)[0]
        for t, power in enumerate(EXPONENT):
            for d, crop in enumerate(crops):
                angle = np.deg2rad(t * parameters.rotation[b, d])
                cos, sin = parameters.scale[b, d] ** power * np.array((np.cos(angle), np.sin(angle)))
                back = np.array(((cos, sin), (-sin, cos)))  # rows, columns
                offset = sizes[0, d, ::-1] / 2 - back @ paths[d, t, ::-1]
                source = crop.astype(np.float32)
                warped = affine_transform(source, back, offset, (SIZE, SIZE), order=1, mode="grid-constant")
                np.maximum(frames[b, t], warped * parameters.light[b] ** power / 255, out=frames[b, t])
    return frames


def official_figures(images: Images, parameters: Any) -> Iterator[Line]:
    """Mean squared error of three trivial forecasts of the official test sequences, in hundredths, and by lead."""
    sums: dict[str, Any] = {"all zero": 0.0, "last frame": 0.0, "last frame in the true light": 0.0}
    with progress.bar(len(parameters), "official test set", "seq") as bar:
        for start in range(0, len(parameters), 100):
            part = parameters[start : start + 100]
            frames = render(images, part).numpy()
            light = compute_brightness(part)[:, SEEN - 1 :, None, None].astype(np.float32)
            truth, last = frames[:, SEEN:], frames[:, SEEN - 1 : SEEN]
            for name, forecast in zip(sums, (0, last, last * (light[:, 1:] / light[:, :1])), strict=True):
                sums[name] += np.square(forecast - truth).mean((2, 3), dtype=np.float64).sum(0)
            bar.update(len(part))
    for name, total in sums.items():
        leads = 100 * total / len(parameters)
        yield {
            "name": f"moving_mnist/{name}",
            "unit": "squared error, e-2",
            "sequences": len(parameters),
            "mean": round(float(leads.mean()), 4),
            "leads": leads.round(4).tolist(),
        }
