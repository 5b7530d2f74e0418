"""The registry is the only list of networks: what a new cell, a new network and a new column of a table cost."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.networks import paper_tables
from agents.networks.cnn import CNN
from agents.networks.encoder_forecaster import EncoderForecaster
from agents.networks.paper_tables import PRINTED, TABLES, Row, shape_digest
from agents.networks.registry import DIGIT_NETWORKS, NETWORKS, SIZES, build, describe_weights, find_network
from hko7env.testing import task

ROOT = Path(__file__).resolve().parent.parent.parent
SOME = task(60, 60)

# ---------------------------------------------------------------- names, sizes, metadata


def test_every_network_of_the_paper_is_listed_once():
    listed = [f"hko7 {name}" for name in NETWORKS] + [f"mnist {name.replace('-', ' ')}" for name in DIGIT_NETWORKS]
    assert sorted(listed) == sorted(TABLES)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_its_class_and_metadata(name, size):
    some = task(120, 120)
    net = build(name, size, some, device="meta")
    assert type(net) is NETWORKS[name].kind
    assert net.metadata == describe_weights(name, size, some)
    assert json.loads(json.dumps(net.metadata)) == net.metadata


def test_an_unknown_name_or_size_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="no network 'trajgu', did you mean 'trajgru'"):
        find_network("trajgu")
    with pytest.raises(ValueError, match="no network 'trajgru-L12', did you mean 'trajgru-L1"):
        find_network("trajgru-L12", DIGIT_NETWORKS)
    with pytest.raises(ValueError, match="no size 'larg', only small, full"):
        build("trajgru", "larg", SOME)
    with pytest.raises(ValueError, match="trajgru: a grid of 60 x 61 px"):
        build("trajgru", "small", dataclasses.replace(SOME, width=61, scored=np.ones((60, 61), bool)))


# ---------------------------------------------------------------- what generic code needs of a network


def test_each_class_has_the_loss_and_the_epsilon_of_the_released_code():
    scales = {
        kind: (kind.balanced_scale, kind.plain_scale, kind.sums_leads, kind.epsilon)
        for kind in (CNN, EncoderForecaster)
    }
    assert scales == {CNN: (5e-5, 5e-5, True, 1e-7), EncoderForecaster: (1e-5, 5e-5, False, 1e-8)}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_groups_hold_every_parameter_once_and_links_apart(name):
    net = build(name, "small", task(120, 120), device="meta")
    others, links = net.parameter_groups(0.25)
    assert (others["share"], links["share"]) == (1, 0.25)
    names = {parameter: key for key, parameter in net.named_parameters()}
    assert sorted(names[p] for p in [*others["params"], *links["params"]]) == sorted(names.values())
    layers = {names[p].split(".")[-2] for p in links["params"]}
    assert layers == ({"i2f", "h2f", "flow"} if name == "trajgru" else set())
    assert not {names[p].split(".")[-2] for p in others["params"]} & {"i2f", "h2f", "flow"}
    assert {p for part in net.parts() for p in part} == set(names)


@pytest.mark.parametrize(("name", "stride"), [("trajgru", 30), ("conv2d", 120)])
def test_the_total_stride_is_the_grid_that_fits(name, stride):
    assert build(name, "small", task(stride, stride), device="meta").total_stride == stride


def test_initialisation_that_does_not_apply_is_refused():
    convgru, cnn = build("convgru", "small", SOME), build("conv2d", "small", task(120, 120))
    with pytest.raises(ValueError, match="link_spacing applies to layers with links"):
        convgru.initialise_links(1.0)
    with pytest.raises(ValueError, match="update_gate_bias applies to recurrent layers"):
        cnn.set_update_gate_bias(1.0)


def test_all_update_gates_and_links_are_initialised():
    net = build("trajgru", "small", SOME)
    net.set_update_gate_bias(2.0)
    net.initialise_links(1.5)
    cells = list(net.cells())
    assert len(cells) == 6
    for cell in cells:
        assert (cell.h2h.bias.chunk(3)[1] == 2).all()
        assert not cell.h2h.bias.chunk(3)[0].any()
        torch.testing.assert_close(cell.flow.bias.view(-1, 2).norm(dim=1), 1.5 * torch.arange(5).sqrt())


# ---------------------------------------------------------------- the digest of a table


def widened(row, **added):
    """``row`` as a tuple with columns that Row will have one day."""
    fields = [(name, object) for name in (*Row._fields, "groups", "norm")]
    wide = NamedTuple("Wide", fields)
    wide.__new__.__defaults__ = (True, 1, "")  # of bias, groups, norm
    wide._field_defaults = {"bias": True, "groups": 1, "norm": ""}
    return wide(*row, **added)


def test_digests_are_those_stored_with_weights():
    assert shape_digest(NETWORKS["convgru"].small) == "f0640645c99d1eaced099c1c2c5959db6e3ccb1d54e0056888bccf5dd763717b"


def test_a_new_column_counts_only_where_it_is_not_its_default():
    for table in TABLES.values():
        assert shape_digest(tuple(widened(row) for row in table)) == shape_digest(table)
        first, *rest = table
        changed = shape_digest((widened(first, groups=2), *map(widened, rest)))
        other = shape_digest((widened(first, norm=2), *map(widened, rest)))
        assert len({changed, other, shape_digest(table)}) == 3


def test_every_column_counts():
    table = TABLES["hko7 trajgru"]
    for name in Row._fields:
        assert shape_digest((table[0]._replace(**{name: 77}), *table[1:])) != shape_digest(table), name
    digests = [shape_digest(table) for table in (*TABLES.values(), *PRINTED.values())]
    assert len(set(digests)) == len(digests) - sum(PRINTED[name] == TABLES[name] for name in PRINTED)


def test_columns_of_the_first_version_stay_in_front():
    assert Row._fields[:12] == (
        "name", "kernel", "stride", "padding", "state", "dilation", "channels_in", "channels_out", "size_in",
        "size_out", "type", "bias",
    )  # fmt: skip
    assert set(Row._fields[12:]) <= set(Row._field_defaults), "a new column needs a default"
    assert paper_tables.Row is Row


# ---------------------------------------------------------------- a copy of the tree with a cell and a network more

CELL = '''

class LeakyCell(RecurrentCell):
    """A leaky integrator of a convolution."""

    def __init__(self, row, *, has_input=True):
        super().__init__(row, has_input=has_input)
        self.i2h = _same_size(row.channels_in, row.channels_out, row.kernel) if has_input else None
        self.h2h = _same_size(row.channels_out, row.channels_out, row.state)

    def _prepare(self, inputs, steps):
        return _split_steps(self.i2h, inputs, steps)

    def _step(self, given, state):
        new = self.h2h(state) if given is None else given + self.h2h(state)
        return (state + torch.tanh(new)) / 2


CELLS["leaky"] = LeakyCell
'''
NETWORK = '''"""One convolution."""

from torch import nn

from .network import Network


class OneLayer(Network):
    def __init__(self, table, inputs, leads, *, low_precision=False):
        super().__init__(table, inputs, leads, low_precision=low_precision)
        self.layer = nn.Conv2d(inputs, leads, 3, padding=1)

    def forward(self, frames):
        return self.layer(frames)
'''
ENTRIES = """
from .onelayer import OneLayer
from .paper_tables import replace_cells

_LEAKY = replace_cells(TABLES["hko7 convgru"], "leaky", (3, 3, 3), 1)
NETWORKS["leaky"] = NetworkSpec(EncoderForecaster, _LEAKY, narrow_table(_LEAKY, (4, 4, 4, 4)))
NETWORKS["onelayer"] = NetworkSpec(OneLayer, ())
"""
AGENT = '''"""A network more."""

from .learning.network_agent import Config, make_agent


def make(task, config):
    return make_agent("{name}", task, config)
'''
SCRIPT = """
import json
import numpy as np
import torch
from agents.learning.train_config import TrainConfig
from agents.networks.paper_tables import Row
from hko7env.loading import available, load
from hko7env.testing import observation, task

torch.set_num_threads(1)
some, report = task(60, 60), {"available": available(), "row": Row._fields[-1]}
for name in ("leaky", "onelayer"):
    agent = load(f"agents.{name}", some, checkpoint="none", online_rate=1e-3, device="cpu")
    before = [p.detach().clone() for p in agent.net.parameters()]
    for step in range(6):
        agent.store(observation(some, 0, step, new_episode=step == 0))
        agent.update()
    moved = [not torch.equal(a, b) for a, b in zip(before, agent.net.parameters())]
    report[name] = [list(agent.predict().shape), all(moved), TrainConfig.for_model(name, {}).steps]
report["shipped"] = float(load("agents.trajgru", some, device="cpu").net.encoder["ernn1"].h2h.bias.abs().sum())
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the tree with a new cell, a new network and a new column; what happened, and the files touched."""
    copy = tmp_path_factory.mktemp("tree")
    for room in ("agents", "hko7env"):
        shutil.copytree(ROOT / room, copy / room)
    before = {path: path.read_bytes() for path in copy.rglob("*.py")}
    networks = copy / "agents/networks"
    for file, text in (("recurrent.py", CELL), ("registry.py", ENTRIES), ("onelayer.py", NETWORK)):
        with (networks / file).open("a") as out:
            out.write(text)
    for name in ("leaky", "onelayer"):
        (copy / f"agents/{name}.py").write_text(AGENT.format(name=name))
    table = networks / "paper_tables.py"
    table.write_text(
        table.read_text().replace("    bias: bool = True\n", "    bias: bool = True\n    groups: int = 1\n")
    )
    touched = {str(p.relative_to(copy)) for p in copy.rglob("*.py") if before.get(p) != p.read_bytes()}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), touched


def test_a_new_cell_touches_three_files_and_a_new_network_three(extended):
    report, touched = extended
    assert touched - {"agents/networks/paper_tables.py"} == {
        "agents/networks/recurrent.py", "agents/networks/registry.py", "agents/leaky.py",  # the cell
        "agents/networks/onelayer.py", "agents/onelayer.py",  # the network, with its entry in registry.py
    }  # fmt: skip
    assert {"agents.leaky", "agents.onelayer"} < set(report["available"])
    for name in ("leaky", "onelayer"):
        assert report[name] == [[20, 60, 60], True, 100_000], "it forecasts, learns online and can be trained"


def test_shipped_weights_survive_a_new_column(extended):
    report, touched = extended
    assert "agents/networks/paper_tables.py" in touched
    assert report["row"] == "groups"
    assert report["shipped"] > 0
