"""Measure speed and memory at 480 x 480, beside a plain reference in the same run: JSON lines on standard output.

    python tools/benchmark.py scores    one 5 -> 20 step scored
    python tools/benchmark.py stream    frames read from an archive
    python tools/benchmark.py pass      all 6053 sequences of a test split of HKO-7's size, with the last-frame agent
    python tools/benchmark.py synthetic synthetic archives made, short and long
    python tools/benchmark.py import    import hko7env
    python tools/benchmark.py denoise   levels counted by location, and outliers found
    python tools/benchmark.py moving_mnist   MovingMNIST++ sequences, and with --mnist the official test set's figures
    python tools/benchmark.py flow      time and skill of last frame, ROVER and its variants, on --archives
    python tools/benchmark.py nets      forecast, training and online step of every network, or of --models
    python tools/benchmark.py nets --list    parameters of every network

Rounds of all competitors alternate and the median round counts, because these machines are noisy: trust the ratios.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np
from numcodecs import Zstd
from PIL import Image
from scipy import fft, ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hko7env import progress  # noqa: E402
from hko7env.archive import Archive, create  # noqa: E402
from hko7env.archive.clutter import find_outliers, histogram  # noqa: E402
from hko7env.archive.format import CHUNK, OUT_OF_RANGE, minutes  # noqa: E402
from hko7env.contract import Agent, Observation, Task  # noqa: E402
from hko7env.loading import load  # noqa: E402
from hko7env.runner import run  # noqa: E402
from hko7env.schedule import schedule  # noqa: E402
from hko7env.scores import averages, scored, tally  # noqa: E402
from hko7env.synthetic import cache_folder, default_archive  # noqa: E402
from hko7env.synthetic.rain import domain as rain_domain  # noqa: E402
from hko7env.units import HKO7  # noqa: E402

Line = dict[str, Any]


def main() -> None:
    """Run the benchmarks that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks: dict[str, Callable[[int], Iterator[Line]]] = {
        "scores": measure_scores,
        "stream": measure_stream,
        "pass": measure_pass,
        "synthetic": measure_synthetic,
        "import": measure_import,
        "denoise": measure_denoise,
        "moving_mnist": lambda rounds: measure_moving_mnist(rounds, known.mnist),
        "flow": lambda rounds: measure_flow(known.archives or [str(default_archive())]),
        "nets": lambda rounds: measure_nets(rounds, known),
    }
    parser.add_argument("names", nargs="+", choices=benchmarks)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--archives", nargs="+", help="for flow; default: the embedded one")
    parser.add_argument("--mnist", help="for moving_mnist: folder of MNIST and the official test file")
    parser.add_argument("--models", nargs="+", help="for nets, e.g. 'hko7 trajgru'; default: all")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bf16"], help="for nets")
    parser.add_argument("--list", action="store_true", help="for nets: count their parameters, measure nothing")
    known = parser.parse_args()
    for name in known.names:
        for line in benchmarks[name](known.rounds):
            print(json.dumps(line), flush=True)


def compare(competitors: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each competitor over alternating ``rounds``, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for round_ in range(rounds + 1):
        for name, work in competitors.items():
            start = time.perf_counter()
            work()
            if round_:
                times[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in times.items()}


def lines(medians: dict[str, float], reference: str, unit: str, per: float, size: int) -> Iterator[Line]:
    """One JSON line a competitor: its median in milliseconds a ``unit`` and its ratio to ``reference``."""
    for name, seconds in medians.items():
        ratio = seconds / medians[reference]
        yield {
            "name": name,
            "median": round(1e3 * seconds / per, 3),
            "unit": unit,
            "ratio": round(ratio, 3),
            "bytes": size,
        }


def measure_scores(rounds: int) -> Iterator[Line]:
    """All scores of one step, of a dense forecast as networks give and of the last frame."""
    archive = Archive(str(default_archive()))
    first = int(np.searchsorted(archive.times, minutes("2015-05-20T10:24")))
    frames = archive.frames(first, first + 25)
    truth, static = frames[5:], archive.scored
    mask = scored(truth, static)
    last = np.ascontiguousarray(np.broadcast_to(frames[4] / np.float32(255), truth.shape))
    dense = np.clip(last + np.float32(0.01), 0, 1)
    medians = compare(
        {
            "scores/plain numpy, dense": lambda: plain_scores(truth, mask, dense),
            "scores/hko7env, dense": lambda: tally(truth, mask, dense),
            "scores/hko7env, last frame": lambda: tally(truth, mask, last),
            "scores/read every byte once": lambda: (dense.max(), truth.max(), mask.max()),
        },
        rounds,
    )
    size = dense.nbytes + truth.nbytes + mask.nbytes
    yield from lines(medians, "scores/plain numpy, dense", "ms/step", 1, size)


def plain_scores(truth: np.ndarray, mask: np.ndarray, forecast: np.ndarray) -> tuple[Any, ...]:
    """The reference: the same sums, vectorised over the whole step as one would write them down."""
    pixel = truth.astype(np.float32) / 255
    counts = []
    for threshold in HKO7.threshold_pixels.astype(np.float32):
        observed, expected = (pixel >= threshold) & mask, (forecast >= threshold) & mask
        hits = np.count_nonzero(observed & expected, axis=(1, 2))
        misses = np.count_nonzero(observed, axis=(1, 2)) - hits
        false_alarms = np.count_nonzero(expected, axis=(1, 2)) - hits
        counts.append((hits, misses, false_alarms, np.count_nonzero(mask, axis=(1, 2)) - hits - misses - false_alarms))
    error = (forecast - pixel) * mask
    weight = HKO7.weights[truth]
    squared, absolute = error**2, np.abs(error)
    sums = [s.sum(axis=(1, 2), dtype=np.float64) for s in (squared, absolute, weight * squared, weight * absolute)]
    return (*counts, *sums)


def measure_stream(rounds: int) -> Iterator[Line]:
    """Segments in order and random windows, beside zstd alone and PNG frames with zlib masks."""
    archive = Archive(str(default_archive()))
    n = 100
    frames = archive.frames(0, n)
    mask = zlib.compress(archive.scored.tobytes(), 2)
    rng = np.random.default_rng(0)
    packed = [Zstd(level=6).encode(frames[i : i + CHUNK]) for i in range(0, n, CHUNK)]
    with tempfile.TemporaryDirectory() as folder:
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(Path(folder) / f"{i}.png")
            (Path(folder) / f"{i}.mask").write_bytes(mask)

        def read_png() -> None:
            for i in range(n):
                np.asarray(Image.open(Path(folder) / f"{i}.png"))
                np.frombuffer(zlib.decompress((Path(folder) / f"{i}.mask").read_bytes()), bool)

        def in_order() -> None:
            fresh = Archive(str(default_archive()))
            for start in range(0, n, CHUNK):
                fresh.frames(start, start + CHUNK)

        def windows() -> None:
            fresh = Archive(str(default_archive()))
            for start in rng.integers(0, len(fresh) - 25, n // 25):
                fresh.frames(start, start + 25)

        medians = compare(
            {
                "stream/PNG and zlib mask, one thread": read_png,
                "stream/hko7env, segments of 5 in order": in_order,
                "stream/hko7env, random windows of 25": windows,
                "stream/zstd alone": lambda: [Zstd().decode(p) for p in packed],
                "stream/opening an archive": lambda: Archive(str(default_archive())),
            },
            rounds,
        )
    opening = medians.pop("stream/opening an archive")
    for name in medians:
        medians[name] -= opening if "hko7env" in name else 0  # paid once, not a frame
    yield from lines(medians, "stream/PNG and zlib mask, one thread", "ms/frame", n, frames[0].nbytes)
    yield {"name": "stream/opening an archive", "median": round(1e3 * opening, 3), "unit": "ms", "ratio": 1, "bytes": 0}


def measure_pass(rounds: int) -> Iterator[Line]:
    """One whole pass: 31,350 frames, made once in the cache folder; the reference is PNG frames scored plainly."""
    archive = full_size_archive()
    env = gymnasium.make("HKO7-Online-v0", archive=str(archive)).unwrapped
    count = len(env.schedule)
    memory = []

    def watch(index: int) -> None:
        if index % (count // 4) == count // 8:
            memory.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        bar.update()

    agent = load("agents.last_frame", env.task)
    start = time.perf_counter()
    with progress.bar(count, "pass", "seq") as bar:
        total = run(env, agent, after=watch)
    seconds = time.perf_counter() - start
    plain = plain_pass(env, rounds)
    yield {
        "name": f"pass/last frame, {total.sequences} sequences, {len(env.archive)} frames",
        "median": round(1e3 * seconds / total.sequences, 3),
        "unit": "ms/sequence",
        "ratio": round(seconds / total.sequences / plain, 3),
        "bytes": memory[-1],
        "peak memory late to early": round(memory[-1] / memory[0], 3),
    }
    yield {
        "name": "pass/PNG and plain numpy",
        "median": round(1e3 * plain, 3),
        "unit": "ms/sequence",
        "ratio": 1.0,
        "bytes": 0,
    }


def measure_synthetic(rounds: int) -> Iterator[Line]:
    """Making synthetic archives of 480 x 480, short and four times as long, each in a process of its own.

    The reference is what no generator of advected rain can do without: one interpolation and a transform each way.
    """
    code = (
        "import resource, sys, time; from hko7env.synthetic import EpisodeSpec, make;"
        "n = int(sys.argv[1]); start = time.perf_counter();"
        "make(sys.argv[2], weather=[EpisodeSpec('test', f'2015-06-0{d}', n) for d in (1, 4)]);"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    size = rain_domain((480, 480))
    field = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    where = np.indices(size, dtype=np.float32) + np.float32(0.3)

    def bare() -> None:
        moved = ndimage.map_coordinates(field, where, order=3, mode="grid-wrap", prefilter=False)
        fft.irfft2(fft.rfft2(moved), size)

    plain = compare({"bare": bare}, rounds)["bare"]
    memory = []
    for frames in (60, 240):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", code, str(frames), str(Path(folder) / "a.zarr")]
            printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        seconds, peak = float(printed[0]) / (2 * frames), 1024 * int(printed[1])
        memory.append(peak)
        yield {
            "name": f"synthetic/{2 * frames} frames, a thread a core",
            "median": round(1e3 * seconds, 3),
            "unit": "ms/frame",
            "ratio": round(seconds / plain, 3),
            "bytes": peak,
            "peak memory to that of the short one": round(peak / memory[0], 3),
        }
    yield {
        "name": "synthetic/one interpolation, one transform each way",
        "median": round(1e3 * plain, 3),
        "unit": "ms/frame",
        "ratio": 1.0,
        "bytes": 0,
    }


def plain_pass(env: Any, rounds: int) -> float:
    """Median seconds a sequence of last frame as one would write it: the 25 PNG frames and masks read, then scored."""
    mask = zlib.compress(env.task.scored.tobytes(), 2)
    with tempfile.TemporaryDirectory() as folder:
        for i, frame in enumerate(env.archive.frames(0, 25)):
            Image.fromarray(frame).save(Path(folder) / f"{i}.png")
            (Path(folder) / f"{i}.mask").write_bytes(mask)

        def step() -> None:
            frames = np.stack([np.asarray(Image.open(Path(folder) / f"{i}.png")) for i in range(25)])
            masks = [zlib.decompress((Path(folder) / f"{i}.mask").read_bytes()) for i in range(5, 25)]
            static = np.stack([np.frombuffer(m, bool).reshape(frames.shape[1:]) for m in masks])
            ahead = np.repeat(frames[4:5] / np.float32(255), 20, axis=0)
            plain_scores(frames[5:], static, ahead)

        return compare({"step": step}, rounds)["step"]


def full_size_archive() -> Path:
    """An archive of the size and shape of HKO-7's test split: 31,350 frames that walk to 6053 sequences."""
    path = cache_folder() / "benchmark-31350.zarr"
    source = Archive(str(default_archive()))
    times = test_list()
    if not path.exists():
        create(str(path), shape=source.shape, mask=source.mask, source="frames of the default archive, repeated")
    archive = Archive(str(path), writable=True)
    with progress.bar(len(times), "making the archive", "frame", done=len(archive)) as bar:
        while len(archive) < len(times):
            start = len(archive)
            n = min(240, len(times) - start)
            begin = start % (len(source) - 240)
            archive.append(times[start : start + n], source.frames(begin, begin + n))
            bar.update(n)
    return path


def test_list() -> np.ndarray:
    """(31350,) minutes with the make-up of HKO-7's test list: 131 days in 53 runs, three outages, single misses."""
    runs = [3] * 25 + [2] * 28
    starts = np.cumsum([0, *(length + 2 for length in runs[:-1])])
    days = np.concatenate([start + np.arange(length) for start, length in zip(starts, runs, strict=True)])
    times = minutes("2015-01-01T00:00") + (1440 * days[:, None] + 6 * np.arange(240)).reshape(-1)
    outages = [np.arange(5) + 3815, np.arange(7) + 12119, np.arange(45) + 20069]
    single = np.arange(33) * 900 + 700
    kept = np.delete(times, np.concatenate([*outages, single]))
    walk = schedule(kept)
    assert (len(kept), len(walk), len(walk.episode_starts)) == (31_350, 6053, 56)
    return kept


def measure_import(rounds: int) -> Iterator[Line]:
    """What importing hko7env adds to importing numpy, gymnasium and zarr."""

    def importing(names: str) -> Callable[[], Any]:
        command = [sys.executable, "-c", f"import {names}"]
        return lambda: subprocess.run(command, cwd=ROOT, check=True)

    medians = compare(
        {
            "import/numpy, gymnasium, zarr": importing("numpy, gymnasium, zarr"),
            "import/the same and hko7env": importing("numpy, gymnasium, zarr, hko7env"),
        },
        rounds,
    )
    yield from lines(medians, "import/numpy, gymnasium, zarr", "ms", 1, 0)


def measure_denoise(rounds: int) -> Iterator[Line]:
    """The histogram pass a frame, beside numpy's scatter add, and the statistics of all locations."""
    archive = Archive(str(default_archive()))
    frames = archive.frames(0, 250)
    rows, columns = np.indices(archive.shape)
    reference = np.zeros((*archive.shape, 256), np.uint32)

    def scatter() -> None:
        for frame in frames[:10]:
            np.add.at(reference, (rows, columns, frame), 1)

    medians = compare({"scatter": scatter, "ours": lambda: histogram(archive.shape, [frames])}, max(rounds // 5, 1))
    medians = {"denoise/np.add.at": medians["scatter"] / 10, "denoise/hko7env histogram": medians["ours"] / 250}
    yield from lines(medians, "denoise/np.add.at", "ms/frame", 1, frames[0].nbytes)
    counted = histogram(archive.shape, [frames])
    in_range = archive.mask != OUT_OF_RANGE
    seconds = compare({"all": lambda: find_outliers(counted, in_range)}, max(rounds // 5, 1))["all"]
    count = int(in_range.sum())
    yield {"name": f"denoise/outliers of {count}", "median": round(1e3 * seconds), "unit": "ms", "ratio": 1, "bytes": 0}


def measure_moving_mnist(rounds: int, folder: str | None) -> Iterator[Line]:
    """Sequences rendered 32 at a time on one core and on two, beside a loop of single warps; then the figures.

    Two workers of one thread and a batch each keep two cores busier than two threads for every operation, and lose
    less where others use the cores too.
    """
    import torch

    from agents.moving_mnist import data as moving_mnist

    if folder:
        images = moving_mnist.read_mnist(folder)
    else:
        images = np.zeros((1000, 28, 28), np.uint8)
        images[:, 4:24, 6:22] = np.random.default_rng(0).integers(0, 256, (1000, 20, 16))  # MNIST's mean box
    batch, few = 32, 2
    index = iter(range(sys.maxsize))
    threads = torch.get_num_threads()

    def parameters(count: int) -> Any:
        return moving_mnist.draw(0, next(index), count, pool=min(len(images), moving_mnist.POOL))

    def ours(count: int) -> Callable[[], Any]:
        def work() -> None:
            torch.set_num_threads(count)
            moving_mnist.render(images, parameters(batch))

        return work

    sample = parameters(few)
    assert np.allclose(single_warps(images, sample), moving_mnist.render(images, sample).numpy(), atol=1e-4)
    plain, workers = "moving_mnist/single warps, one thread", "moving_mnist/hko7env, two workers of one thread"
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        medians = compare(
            {
                plain: lambda: single_warps(images, parameters(few)),
                "moving_mnist/hko7env, one thread": ours(1),
                "moving_mnist/hko7env, two threads": ours(2),
                workers: lambda: [done.result() for done in [pool.submit(ours(1)) for _ in range(2)]],
            },
            rounds,
        )
    torch.set_num_threads(threads)
    medians = {name: seconds / {plain: few, workers: 2 * batch}.get(name, batch) for name, seconds in medians.items()}
    size = moving_mnist.FRAMES * moving_mnist.SIZE**2 * 4
    for line in lines(medians, plain, "ms/sequence", 1, size):
        yield line | {"sequences a second": round(1 / medians[line["name"]])}
    if folder:
        yield from official_figures(images, moving_mnist.official(folder))


def single_warps(images: np.ndarray, parameters: Any) -> np.ndarray:
    """The reference: one warp of a whole frame for each digit and frame, as the released generator calls OpenCV."""
    from scipy.ndimage import affine_transform

    from agents.moving_mnist.data import EXPONENT, FRAMES, SIZE, centres

    frames = np.zeros((len(parameters), FRAMES, SIZE, SIZE), np.float32)
    for b, digits in enumerate(parameters.digit):
        used = [[np.flatnonzero(images[digit].any(axis)) for axis in (0, 1)] for digit in digits]
        crops = [images[k][np.ix_(r, c)] for k, (c, r) in zip(digits, used, strict=True)]
        sizes = np.array([[crop.shape[::-1] for crop in crops]], float)
        paths = centres(parameters[b : b + 1], sizes)[0]
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


def official_figures(images: np.ndarray, parameters: Any) -> Iterator[Line]:
    """Mean squared error of three forecasts of the official test sequences, in hundredths, and its ten leads."""
    from agents.moving_mnist.data import SEEN, gains, render

    sums = {"all zero": 0.0, "last frame": 0.0, "last frame in the true light": 0.0}
    with progress.bar(len(parameters), "official test set", "seq") as bar:
        for start in range(0, len(parameters), 100):
            part = parameters[start : start + 100]
            frames = render(images, part).numpy()
            light = gains(part)[:, SEEN - 1 :, None, None].astype(np.float32)
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


ROVERS: dict[str, dict[str, Any]] = {
    "ROVER non-linear": {},
    "ROVER linear": {"nonlinear": False},
    "ROVER non-linear, trajectory": {"advection": "trajectory"},
    "ROVER linear, trajectory": {"nonlinear": False, "advection": "trajectory"},
    "ROVER non-linear, newest pair": {"newest_pair": True},
}


def measure_flow(archives: list[str]) -> Iterator[Line]:
    """Milliseconds a forecast and Table 3 scores of each method, over all sequences of each archive."""
    for path in archives:
        env = gymnasium.make("HKO7-Offline-v0", archive=path).unwrapped
        agents = {"last frame": load("agents.last_frame", env.task)}
        agents |= {name: load("agents.rover", env.task, **options) for name, options in ROVERS.items()}
        if importlib.util.find_spec("cv2"):
            agents["OpenCV DIS, one interpolation"] = DIS(env.task)
        reference = None
        for name, agent in agents.items():
            watch = Stopwatch(agent)
            with progress.bar(len(env.schedule), f"{Path(path).name} {name}", "seq") as bar:
                mean = averages(run(env, watch, after=lambda _, bar=bar: bar.update()))
            reference = reference or float(mean["b_mse"])
            yield {
                "name": f"flow/{Path(path).stem}/{name}",
                "median": round(1e3 * median(watch.seconds), 1),
                "unit": "ms/sequence",
                "ratio": round(float(mean["b_mse"]) / reference, 4),  # B-MSE to that of the last frame
                "bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "sequences": len(env.schedule),
                "csi": [None if np.isnan(c) else round(float(c), 4) for c in mean["csi"]],
                "b_mse": round(float(mean["b_mse"])),
                "b_mae": round(float(mean["b_mae"])),
            }


class Stopwatch:
    """An agent that notes how long the agent inside takes to forecast."""

    def __init__(self, agent: Agent) -> None:
        self.store, self.update = agent.store, agent.update
        self.agent, self.seconds = agent, []

    def predict(self) -> np.ndarray:
        """What the agent inside forecasts."""
        start = time.perf_counter()
        forecast = self.agent.predict()
        self.seconds.append(time.perf_counter() - start)
        return forecast


class DIS:
    """Reference: OpenCV's dense inverse search flow, the newest frame interpolated once."""

    def __init__(self, task: Task) -> None:
        import cv2

        self.cv2, self.task = cv2, task
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def store(self, observation: Observation) -> None:
        """Keep the last two frames, masked."""
        frames = observation["frames"][-2:]
        self.pair = np.where(scored(frames, self.task.scored), frames, np.uint8(0))

    def update(self) -> None:
        """Nothing is learned."""

    def predict(self) -> np.ndarray:
        """(K, H, W) float32."""
        motion = self.flow.calc(*self.pair, None)
        columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self.pair.shape[:0:-1]))
        newest = self.pair[1] / np.float32(255)
        paths = ((columns - k * motion[..., 0], rows - k * motion[..., 1]) for k in range(1, self.task.leads + 1))
        ahead = [self.cv2.remap(newest, *path, self.cv2.INTER_LINEAR) for path in paths]
        return np.stack(ahead)


def measure_nets(rounds: int, known: argparse.Namespace) -> Iterator[Line]:
    """The networks, or with ``--list`` no more than their parameters."""
    from tools import benchmark_nets  # needs torch, as nothing above does

    if known.list:
        return benchmark_nets.list_nets()
    return benchmark_nets.measure_nets(compare, rounds, known.models, known.precisions)


if __name__ == "__main__":
    main()
