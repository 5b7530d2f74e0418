"""A tiny network, a source of noise, and trainers made of them."""

import csv
import time

import numpy as np
import torch

from agents.learning.batch import Batch
from agents.learning.checkpoint import read
from agents.learning.loss import rain_loss
from agents.learning.train_config import Optimisation
from agents.learning.trainer import Trainer
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import make_network
from hko7env.testing import task

SOME = task(60, 60)
TINY = narrow_table(TABLES["hko7 convgru"], (2, 2, 3, 3))


def tiny_network(seed=3):
    return make_network(TINY, 5, 20, seed=seed)


class Noise:
    """A source of windows that needs no archive."""

    def __init__(self, rows=range(2), delay=0.0):
        self.rows, self.delay, self.asked = rows, delay, []

    def batch(self, step):
        self.asked.append(step)
        time.sleep(self.delay)
        random = [np.random.default_rng([step, row]) for row in self.rows]
        frames = np.stack([r.integers(0, 256, (25, 30, 30), dtype=np.uint8) for r in random])
        return Batch(frames, np.ones(frames.shape[:2], bool), np.ones((len(frames), 30, 30), bool))


def tiny_trainer(out, source=None, validate=None, seed=3, metadata=None, **options):
    config = Optimisation(**{"steps": 6, "valid_every": 2, **options})
    net = tiny_network(seed)
    return Trainer(net, source or Noise(), rain_loss(net, SOME), config, out, metadata or {}, validate=validate)


def content(path):
    """Tensors of the checkpoint at ``path``."""
    return read(path)[0]


def log(folder):
    """Rows of the log, by column."""
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def equal(one, other):
    """Whether two dictionaries hold the same tensors."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
