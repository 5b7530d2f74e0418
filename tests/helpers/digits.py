"""Digits for tests of MovingMNIST++: blots instead of MNIST."""

import numpy as np

from agents.moving_mnist.data import Parameters


def make_blots(count=40, seed=0):
    """(count, 28, 28) uint8 blots that resemble the digits of MNIST: inside the middle 20 x 20 px, black around it.

    A third has a black row inside, a third a black column, as one in eighty of MNIST's digits has.
    """
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    for number, image in enumerate(images):
        top, left = rng.integers(4, 10, 2)
        height, width = rng.integers(9, 25 - top), rng.integers(2, 25 - left)
        image[top : top + height, left : left + width] = rng.integers(0, 256, (height, width)) * (
            rng.random((height, width)) < 0.8
        )
        image[rng.integers(top, top + height), rng.integers(left, left + width)] = 255
        if number % 3 == 1:
            image[top + height // 2] = 0
        elif number % 3 == 2 and width > 2:
            image[:, left + width // 2] = 0
    return images


BLOTS = make_blots()
POOLED = {"pool": len(BLOTS)}


def still_digit(**given):
    """Parameters of one sequence of one digit, image 0, which does not change except as given."""
    still = {"digit": 0, "rotation": 0.0, "scale": 1.0, "speed": 0.0, "heading": 0.0}
    values = {name: np.array([[given.get(name, value)]]) for name, value in still.items()}
    place = np.array([[given.get("place", (0.5, 0.5))]], float)
    return Parameters(**values, place=place, light=np.array([given.get("light", 1.0)]))


def crop_digit(image):
    """What the released generator keeps of a digit: the rows and columns that are not all black."""
    rows = [row for row in image.tolist() if any(row)]
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    return np.array(columns).T
