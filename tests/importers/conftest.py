import numpy as np
import pytest

from hko7env.archive.format import minutes
from tests.helpers.memory import limited_memory
from tests.helpers.radar_files import draw_eccc, write_fmi


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "CASGO"
    folder.mkdir()
    start = minutes("2024-07-10T19:06")
    for i in range(6):
        if i != 3:
            cells = [(100 + i, 200, (255, 153, 0)), (300, 150, (153, 204, 255)), (60, 360, (102, 0, 153))]
            draw_eccc(folder, start + 6 * i, cells, palette_seed=i)
    return folder


@pytest.fixture
def finland(tmp_path):
    folder = tmp_path / "fmi"
    folder.mkdir()
    values = np.zeros((5, 6), np.uint8)
    values[:, 0] = 255
    values[1, 2], values[2, 3], values[0, 5] = 64 + 2 * 30, 64 + 2 * 45, 1  # 30, 45 and -31.5 dBZ
    for minute in (45, 50):
        write_fmi(folder, f"2016092814{minute}", values)
    return folder


@pytest.fixture
def little_memory():
    with limited_memory():
        yield


@pytest.fixture
def gifs(tmp_path):
    folder = tmp_path / "gifs"
    folder.mkdir()
    return folder, [
        draw_eccc(folder, minutes("2024-07-10T19:00") + 6 * i, [(100, 200, (255, 153, 0))]) for i in range(3)
    ]
