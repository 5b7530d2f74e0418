"""Random tensors, small networks and their parameters for tests of networks."""

import torch

from agents.networks.paper_tables import TABLES, is_recurrent, narrow_table
from agents.networks.recurrent import TrajGRU
from agents.networks.registry import make_network


def random_tensor(*shape, seed=0, scale=1.0, dtype=torch.float64):
    """Normally distributed values of standard deviation ``scale``."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(scale).to(dtype)


def frames_of(name):
    """J and K of the network ``name``."""
    return (10, 10) if name.startswith("mnist") else (5, 20)


def small_network(name, widths=None, seed=0, **options):
    """A narrow network with the rows ``name``, and two sequences (2, J + K, H, W) on a grid that fits it."""
    table = TABLES[name]
    table = narrow_table(table, widths or ((4, 6, 8, 10) if is_recurrent(table) else (2,)))
    inputs, leads = frames_of(name)
    size = (16 if is_recurrent(table) else 32) if name.startswith("mnist") else (60 if is_recurrent(table) else 120)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = [torch.sin((x + s * t) / 4).mul(torch.cos((y - t) / 5)) for s in (1, 2) for t in range(inputs + leads)]
    sequences = torch.stack(waves).view(2, inputs + leads, size, size) / 2 + 0.5
    return make_network(table, inputs, leads, seed=seed, **options), sequences


def stir_links(net, scale=0.3):
    """Draw the last layers of the networks that generate links, which are 0 at first."""
    for i, module in enumerate(m for m in net.modules() if isinstance(m, TrajGRU)):
        module.flow.weight.data = random_tensor(*module.flow.weight.shape, seed=i, scale=scale, dtype=torch.float32)
    return net
