"""The transition of a TrajGRU step, link by link in PyTorch or fused in Triton, chosen by measurement.

PyTorch's way works everywhere. The fused way, :mod:`agents.networks.fused_transition`, needs a CUDA device of compute
capability 8.0 or later and Triton, which PyTorch's CUDA packages for Linux bring along.
"""

import functools
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch

from hko7env.contract import OptionError

from .gates import apply_gates
from .tilings import Tiling, tilings_for
from .warp import aggregate, product_type

Tensor = torch.Tensor
Fused = Literal["auto", "on", "off"]

CAPABILITY = (8, 0)  # the first with TF32 and bfloat16
LARGEST = 2**31 - 1  # entries of a map that the kernels, which count in 32 bits, can address
ROUNDS, REPEATS = 5, 4  # of a measurement: the median of the rounds counts, a round has so many repeats
HEAD_START = 20_000_000  # cycles, about 10 ms, that the device waits while the host launches a round


def advance(
    given: Tensor | None,
    state: Tensor,
    flow: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    rounded: Tensor | None = None,
    fused: Fused = "off",
) -> Tensor:
    """The state after a transition.

    Args:
        given: (B, 3 C, H, W) the contribution of the input to reset gate, update gate and new state, or None.
        state: (B, C, H, W).
        flow: (B, L, 2, H, W) px.
        weight: (3 C, L C, 1, 1) of the projection; column l C + c is channel c of the state as link l reads it.
        bias: (3 C,).
        rounded: ``weight`` as :func:`round_weight` gives it, to round it once for many steps; None to round it here.
        fused: "off": PyTorch's way. "on": the fused way. "auto": the faster of both in a measurement at the first use
            with a shape, which must not happen while a CUDA graph is recorded; the choice is kept in the process.
            ``torch.compile`` always gets PyTorch's way.

    Returns:
        (B, C, H, W).

    Raises:
        OptionError: If ``fused`` is "on" and there is no fused way for this device, number format or size.
        RuntimeError: If a measurement is due while a CUDA graph is recorded.
    """
    if fused == "off" or (fused == "auto" and not state.is_cuda) or torch.compiler.is_compiling():
        return _advance_plainly(given, state, flow, weight, bias)
    tensors = [tensor for tensor in (given, state, flow, weight, bias) if tensor is not None]
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    links = flow.shape[1]
    case = Case(state.device, tuple(state.shape), links, state.dtype, product_type(state), given is not None, learns)
    tiling = select_tiling(case) if fused == "auto" else default_tiling(case)
    if tiling is None:
        return _advance_plainly(given, state, flow, weight, bias)
    from .fused_transition import fused_transition

    rounded = round_weight(weight, case.products) if rounded is None else rounded
    return fused_transition(given, state, flow, weight, bias, rounded=rounded, tiling=tiling)


def round_weight(weight: Tensor, products: torch.dtype) -> Tensor:
    """``weight`` in the number format of the products, without a gradient."""
    return weight.detach().to(products)


def find_obstacle(device: torch.device) -> str | None:
    """Why there is no fused way on a device; None if there is one."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
        return None  # Triton's interpreter: for tests
    if device.type != "cuda" or torch.version.cuda is None:
        return "it needs a CUDA device"
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        return f"{torch.cuda.get_device_name(device)} has no compute capability of {CAPABILITY[0]}.{CAPABILITY[1]}"
    return None


@dataclass(frozen=True)
class Case:
    """What a choice is made for.

    Attributes:
        device: Where the tensors are.
        shape: B, C, H, W of the state.
        links: L.
        dtype: Number format of state, flow and sums.
        products: Number format of the products.
        has_input: Whether the input contributes to the gates.
        learns: Whether gradients will be computed.
    """

    device: torch.device
    shape: tuple[int, ...]
    links: int
    dtype: torch.dtype
    products: torch.dtype
    has_input: bool
    learns: bool

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        parts = [f"{shape}, {self.links} links, {str(self.products).removeprefix('torch.')}"]
        parts += ["no input"] * (not self.has_input) + ["forward and backward" if self.learns else "forward"]
        return ", ".join(parts)


@functools.cache
def default_tiling(case: Case) -> Tiling:
    """The tiling without a measurement, by the size of the map.

    Raises:
        OptionError: If there is no fused way for the device, number format or size.
    """
    obstacle = find_obstacle(case.device)
    batch, channels, height, width = case.shape
    pixels = batch * height * width
    if obstacle is None and case.device.type == "cuda" and case.dtype != torch.float32:
        obstacle = f"its states are float32, not {case.dtype}"
    if obstacle is None and pixels * max(4 * channels, 2 * case.links) > LARGEST:
        obstacle = f"{pixels} locations of {channels} channels are too many"
    if obstacle is not None:
        raise OptionError(f"there is no fused transition here, as {obstacle}: choose fused auto or off")
    return tilings_for(pixels)[-1]


@functools.cache
def select_tiling(case: Case) -> Tiling | None:
    """The fastest tiling, or None where PyTorch's way is faster or the only one.

    Raises:
        RuntimeError: If a CUDA graph is being recorded.
    """
    try:
        default_tiling(case)
    except OptionError:
        return None
    times = measure(case)
    return min(times, key=times.__getitem__)


def measure(case: Case) -> dict[Tiling | None, float]:
    """Milliseconds on the device of PyTorch's way (None) and of the tilings that can run there.

    The device waits while the host launches the work, so that the times are those of a CUDA graph. States and links are
    random: links of a few px, different at neighbouring locations.

    Raises:
        RuntimeError: If a CUDA graph is being recorded.
    """
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError("run a step before it is recorded as a CUDA graph: TrajGRU chooses its transition there")
    batch, _, height, width = case.shape
    errors: tuple[type[Exception], ...] = (RuntimeError, *_triton_errors())
    with torch.inference_mode(False), torch.set_grad_enabled(case.learns):
        jobs = dict(_make_jobs(case, (None, *tilings_for(batch * height * width))))
        failures = []
        for tiling in list(jobs):
            try:
                jobs[tiling]()  # libraries choose their kernels, Triton compiles its own
            except errors as error:
                if tiling is None:
                    raise
                failures.append(error)
                del jobs[tiling]
        if len(jobs) == 1:
            warnings.warn(f"the fused transition cannot run here, PyTorch's way is used: {failures[-1]}", stacklevel=2)
        times: dict[Tiling | None, list[float]] = {tiling: [] for tiling in jobs}
        for _ in range(ROUNDS):
            for tiling, job in jobs.items():
                times[tiling].append(_time(job))
    return {tiling: median(each) for tiling, each in times.items()}


def _advance_plainly(given: Tensor | None, state: Tensor, flow: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return apply_gates(given, aggregate(state, flow, weight, bias).to(state.dtype), state)


def _make_jobs(case: Case, tilings: tuple[Tiling | None, ...]) -> Iterator[tuple[Tiling | None, Callable[[], object]]]:
    """A function for each tiling that does one transition and, if the case learns, its backward pass."""
    from .fused_transition import fused_transition

    (batch, channels, height, width), links = case.shape, case.links
    random = torch.Generator(case.device).manual_seed(0)

    def draw(*shape: int, scale: float = 1.0, dtype: torch.dtype = case.dtype) -> Tensor:
        drawn = torch.randn(shape, generator=random, device=case.device).mul_(scale).to(dtype)
        if len(shape) == 4:
            drawn = drawn.contiguous(memory_format=torch.channels_last)
        return drawn.requires_grad_(case.learns)

    state = draw(batch, channels, height, width)
    flow = draw(batch, 2 * links, height, width, scale=2.0)
    weight = draw(3 * channels, links * channels, 1, 1, scale=(links * channels) ** -0.5)
    bias = draw(3 * channels)
    given = draw(batch, 3 * channels, height, width, dtype=case.products) if case.has_input else None
    rounded, gradient = round_weight(weight, case.products), torch.ones_like(state)
    inputs = [tensor for tensor in (given, state, flow, weight, bias) if tensor is not None]

    def work(tiling: Tiling | None) -> None:
        links_of = flow.unflatten(1, (links, 2))
        if tiling is None:
            with torch.autocast(case.device.type, case.products, enabled=case.products != case.dtype):
                following = _advance_plainly(given, state, links_of, weight, bias)
        else:
            following = fused_transition(given, state, links_of, weight, bias, rounded=rounded, tiling=tiling)
        if case.learns:
            torch.autograd.grad(following, inputs, gradient)

    return ((tiling, functools.partial(work, tiling)) for tiling in tilings)


def _triton_errors() -> tuple[type[Exception], ...]:
    """What Triton raises if a kernel cannot be compiled, or needs more of the device than there is."""
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources

    return CompilationError, OutOfResources


def _time(job: Callable[[], object]) -> float:
    """Milliseconds on the device of some repeats of a job."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(HEAD_START)
    start.record()
    for _ in range(REPEATS):
        job()
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds
