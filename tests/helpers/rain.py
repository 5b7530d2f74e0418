"""Rain fields whose motion is known, and probabilities of classes, for tests of extrapolation and calibration."""

import numpy as np
import torch

from agents.calibration.counts import CLASSES
from agents.calibration.features import BINS


def steady(some, drift, steps=5):
    rows, columns = np.indices((some.height, some.width))
    frames = []
    for k in range(steps):
        cells = ((30, 30), (50, 70), (80, 40), (70, 90))
        field = sum(
            np.exp(-((rows - r - drift[0] * k) ** 2 + (columns - c - drift[1] * k) ** 2) / 120) for r, c in cells
        )
        frames.append(np.clip(220 * field, 0, 255))
    return torch.tensor(np.stack(frames), dtype=torch.float32)


def random_probabilities(seed=0, leads=2):
    probabilities = np.random.default_rng(seed).gamma(0.3, size=(leads, BINS, CLASSES)).astype(np.float32) + 1e-6
    return probabilities / probabilities.sum(-1, keepdims=True)
