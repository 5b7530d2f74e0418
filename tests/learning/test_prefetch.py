import time

import pytest
import torch

from agents.learning.batch import Batch
from agents.learning.prefetch import prefetched
from tests.helpers.training import Noise


def test_batches_come_in_order_and_not_far_ahead():
    source = Noise(delay=0.002)
    with prefetched(source, 3, 40, torch.device("cpu"), ahead=2) as batches:
        for step in range(3, 9):
            taken = next(batches)
            assert torch.equal(taken.frames, torch.from_numpy(Noise().batch(step).frames))
            assert isinstance(taken, Batch)
        time.sleep(0.05)
        assert len(source.asked) <= 6 + 2 + 1
    assert source.asked == list(range(3, 3 + len(source.asked)))


def test_an_error_while_reading_comes_out():
    class Broken(Noise):
        def batch(self, step):
            if step == 2:
                raise ValueError("frames 3 to 8 are damaged")
            return super().batch(step)

    with prefetched(Broken(), 0, 9, torch.device("cpu")) as batches:
        next(batches), next(batches)
        with pytest.raises(ValueError, match="frames 3 to 8"):
            next(batches)
