"""The fused transition against PyTorch's: in Triton's interpreter, compiled without a GPU, and on a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agents.learning.cuda_graph import GraphedLoss
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import make_network
from agents.networks.tilings import TILINGS
from agents.networks.transition import Case, measure, select_tiling
from tests.helpers.networks import stir_links
from tests.helpers.transitions import assert_near, differentiate, draw, fused, plain

ROOT = Path(__file__).resolve().parent.parent.parent
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@needs_triton
@pytest.mark.slow
def test_in_tritons_interpreter():
    """In a process of its own: whether kernels are interpreted is settled when Triton is imported."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "tests/networks/interpreted_transition.py"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout


WHOLE_NUMBERS = ("pixels", "links", "height", "width", "fed", "noted", "share")
PRODUCTS = ("given", "weight", "by_projected")  # maps in the number format of the products


def compile_for(capability, kernel, tiling, low):
    """Compile a kernel for GPUs of a compute capability, without one."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {"CHANNELS": 64, "PRECISION": "tf32", "C": 64, "K": tiling.inner, "D": tiling.gates}
    constants["P"] = min(tiling.pixels, 64)
    names = kernel.arg_names
    types = {name: f"*{low}" if name in PRODUCTS else "*fp32" for name in names}
    types |= dict.fromkeys(WHOLE_NUMBERS, "i32") | {"slope": "fp32"} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items() if name in names},
    )
    options = {"num_warps": tiling.warps, "num_stages": tiling.stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


@needs_triton
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("low", ["fp32", "bf16"])
@pytest.mark.parametrize("capability, instruction", [(80, "mma.sync"), (90, "wgmma")])
def test_kernels_compile_to_products_of_tensor_cores(capability, instruction, low, tmp_path, monkeypatch):
    from agents.networks import fused_kernels as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for kernel in (kernels.transition, kernels.by_samples, kernels.by_projection):
        compiled = compile_for(capability, kernel, TILINGS[2], low)
        assert instruction in compiled.asm["ptx"]
        assert compiled.metadata.shared <= 163 * 1024  # bytes that a program may have at capability 8.0


def exact(monkeypatch):
    """Have float32 products computed as such, not as TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@needs_triton
@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("has_input", [True, False])
@pytest.mark.parametrize(
    "shape, links", [((1, 64, 96, 96), 13), ((4, 192, 32, 32), 13), ((1, 192, 16, 16), 9), ((2, 24, 37, 21), 5)]
)
def test_on_a_gpu_it_equals_pytorch_in_double_precision(shape, links, has_input, monkeypatch):
    exact(monkeypatch)
    tensors = draw(shape, links, has_input=has_input, device="cuda")
    low = [None if tensor is None else tensor.float() for tensor in tensors]
    expected = differentiate(plain, tensors)
    assert_near(differentiate(fused, low), expected, 1e-4)
    with torch.autocast("cuda", torch.bfloat16):
        assert_near(differentiate(fused, low), expected, 0.05)


@needs_triton
@needs_gpu
@pytest.mark.gpu
def test_on_a_gpu_only_the_gradients_behind_the_state_vary():
    tensors = draw((1, 64, 96, 96), 13, dtype=torch.float32, device="cuda")
    one, other = (differentiate(fused, tensors) for _ in range(2))
    for name in one.keys() - {"by state"}:
        assert torch.equal(one[name], other[name]), name
    assert_near(one, other, 1e-5)


@needs_triton
@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_network_learns_the_same_fused_and_recorded(precision, monkeypatch):
    exact(monkeypatch)
    table = narrow_table(TABLES["hko7 trajgru"], (8, 24, 32, 32), links=5)
    frames = torch.rand(2, 5, 60, 60, generator=torch.Generator().manual_seed(0)).to("cuda")
    results = []
    for fused_way, recorded in (("off", False), ("on", False), ("on", True), ("auto", True)):
        net = stir_links(make_network(table, 5, 20, precision=precision, device="cpu"))
        net = net.to("cuda")
        net.select_transition(fused_way)

        def value(batch, net=net):
            return net(*batch).square().mean()

        if recorded:
            GraphedLoss(net, value)((frames,))
        else:
            value((frames,)).backward()
        results.append({name: parameter.grad.clone() for name, parameter in net.named_parameters()})
    for found in results[1:]:
        assert_near(found, results[0], 0.2 if precision == "bf16" else 1e-2)


@needs_triton
@needs_gpu
@pytest.mark.gpu
def test_a_choice_is_measured_once_and_not_while_a_graph_is_recorded():
    case = Case(torch.device("cuda", 0), (1, 24, 12, 10), 5, torch.float32, torch.float32, True, True)
    times = measure(case)
    assert None in times
    assert len(times) > 1
    select_tiling.cache_clear()
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="run a step before"), torch.cuda.graph(graph):
        select_tiling(case)
    assert select_tiling(case) in times
