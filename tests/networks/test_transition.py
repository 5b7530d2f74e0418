"""Which way a transition of TrajGRU is computed, with and without Triton and a GPU."""

import pytest
import torch

from agents.networks import transition as choosing
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import make_network
from agents.networks.transition import Case, advance, default_tiling, find_obstacle, select_tiling
from hko7env.contract import OptionError
from hko7env.loading import load
from hko7env.testing import task
from tests.helpers.transitions import draw

pytestmark = pytest.mark.usefixtures("one_thread", "no_choices")

CUDA = torch.device("cuda", 0)
CASE = Case(CUDA, (1, 64, 96, 96), 13, torch.float32, torch.bfloat16, True, True)


@pytest.fixture
def no_choices(monkeypatch):
    """Choices of other tests are forgotten, before and after; kernels are compiled."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for cached in (select_tiling, default_tiling):
        cached.cache_clear()
    yield
    for cached in (select_tiling, default_tiling):
        cached.cache_clear()


def times(found):
    """A measurement with the times ``found``, which counts how often it is done."""

    def measured(case):
        measured.cases.append(case)
        return found

    measured.cases = []
    return measured


@pytest.mark.parametrize(
    "found, best", [({None: 2.0, "small": 1.0, "large": 3.0}, "small"), ({None: 1.0, "a": 2.0}, None)]
)
def test_the_fastest_is_chosen_and_measured_once(found, best, monkeypatch):
    measured = times(found)
    monkeypatch.setattr(choosing, "measure", measured)
    monkeypatch.setattr(choosing, "default_tiling", lambda case: "large")
    assert [select_tiling(CASE) for _ in range(3)] == [best] * 3
    assert measured.cases == [CASE]


def test_without_triton_it_is_pytorchs_way(monkeypatch):
    monkeypatch.setattr(choosing.importlib.util, "find_spec", lambda name: None)
    measured = times({})
    monkeypatch.setattr(choosing, "measure", measured)
    assert find_obstacle(CUDA) == "Triton is not installed"
    assert select_tiling(CASE) is None
    assert measured.cases == []
    with pytest.raises(OptionError, match="Triton is not installed: choose fused auto or off"):
        default_tiling(CASE)


def test_without_a_gpu_it_is_pytorchs_way(monkeypatch):
    monkeypatch.setattr(choosing.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(choosing, "measure", times({}))
    assert find_obstacle(torch.device("cpu")) == "it needs a CUDA device"
    tensors = draw((2, 3, 5, 4), 2)
    assert torch.equal(advance(*tensors, fused="auto"), advance(*tensors, fused="off"))
    with pytest.raises(OptionError, match="needs a CUDA device"):
        advance(*tensors, fused="on")


def test_old_gpus_and_large_or_double_states_have_no_fused_way(monkeypatch):
    monkeypatch.setattr(choosing.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old one")
    assert find_obstacle(CUDA) == "an old one has no compute capability of 8.0"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert find_obstacle(CUDA) is None
    for shape, dtype, message in (
        ((1, 64, 96, 96), torch.float64, "states are float32, not torch.float64"),
        ((1000, 64, 96, 96), torch.float32, "9216000 locations of 64 channels are too many"),
    ):
        with pytest.raises(OptionError, match=message):
            default_tiling(Case(CUDA, shape, 13, dtype, dtype, True, True))


def test_nothing_is_measured_while_a_graph_is_recorded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(choosing, "default_tiling", lambda case: "large")
    with pytest.raises(RuntimeError, match="run a step before it is recorded"):
        select_tiling(CASE)


def test_a_tiling_that_cannot_run_is_left_out(monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed")
    from triton.runtime.errors import OutOfResources

    def fail():
        raise OutOfResources(300, 200, "shared memory")

    jobs = {None: lambda: None, "large": fail, "small": lambda: None}
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(choosing, "_make_jobs", lambda case, tilings: iter(jobs.items()))
    monkeypatch.setattr(choosing, "_time", lambda job: 1.0 if job is jobs["small"] else 2.0)
    assert choosing.measure(CASE) == {None: 2.0, "small": 1.0}
    jobs["small"] = fail
    with pytest.warns(UserWarning, match="cannot run here, PyTorch's way is used: out of resource"):
        assert choosing.measure(CASE) == {None: 2.0}


def test_a_case_is_named():
    assert str(CASE) == "1 x 64 x 96 x 96, 13 links, bfloat16, forward and backward"


def test_the_choice_reaches_every_layer_and_bad_ones_are_refused():
    trajgru, convgru = (narrow_table(TABLES[f"hko7 {name}"], (2, 3, 3, 3)) for name in ("trajgru", "convgru"))
    net = make_network(trajgru, 5, 20, fused="off")
    assert [cell.fused for cell in net.cells()] == ["off"] * 6
    with pytest.raises(OptionError, match="fused is one of auto, on, off, got 'yes'"):
        make_network(trajgru, 5, 20, fused="yes")
    with pytest.raises(OptionError, match="only TrajGRU has one: choose fused auto or off"):
        make_network(convgru, 5, 20, fused="on")
    for fused, message in (("on", "no fused transition here"), ("yes", "fused is one of auto, on, off")):
        with pytest.raises(OptionError, match=message):
            load("agents.trajgru", task(30, 30), checkpoint="none", fused=fused, device="cpu")
