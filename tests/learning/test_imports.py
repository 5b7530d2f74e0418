"""Who may import whom among the modules of agents/learning."""

import ast
from pathlib import Path

import pytest

import agents.learning

FOLDER = Path(agents.learning.__file__).parent

# From the bottom up: a module may import modules of lower lines.
ORDER = (
    "batch checkpoint interrupts clipping augmentation padding held_out lead_bias advected_forecast",
    "train_config weights prefetch cuda_graph averaging training_log loss replay archive_sampler advected_sampler",
    "torch_rain distributed forecasting",
    "device_sources",
    "validation network_agent trainer",
    "flow_training",
    "last_layer radar_training parts",
)
RANK = {module: rank for rank, line in enumerate(ORDER) for module in line.split()}


def test_every_module_has_its_place():
    assert RANK.keys() == {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("module", RANK)
def test_arrows_go_down(module):
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            assert RANK[node.module] < RANK[module], f"{module} must not import {node.module}"
