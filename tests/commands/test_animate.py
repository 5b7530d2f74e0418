import numpy as np
import pytest
from PIL import Image

from hko7env.commands.animate import GAP, PANEL, TOP, main
from hko7env.commands.main import main as hko7env

LEFT, RIGHT, HEIGHT = GAP, 2 * GAP + PANEL, PANEL * 48 // 64


def pictures(path):
    with Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            yield np.asarray(film.convert("RGB"))


def panel(picture, left):
    return picture[TOP : TOP + HEIGHT, left : left + PANEL]


def test_the_film_shows_inputs_then_the_forecast_beside_the_truth(small_archive, tmp_path, capsys):
    out = tmp_path / "film.webp"
    assert main(["agents.last_frame", "--archive", str(small_archive), "--sequence", "2", "--out", str(out)]) == 0
    assert "forecast of agents.last_frame issued 2015-05-20T01:24" in capsys.readouterr().out
    film = list(pictures(out))
    assert len(film) == 25
    for slot in range(5):
        np.testing.assert_array_equal(panel(film[slot], LEFT), panel(film[slot], RIGHT))
    for slot in range(5, 25):  # the last frame seen, again and again
        np.testing.assert_array_equal(panel(film[slot], RIGHT), panel(film[4], LEFT))
    assert any((panel(film[24], LEFT) != panel(film[24], RIGHT)).ravel())


def test_a_gif_has_as_many_frames_and_the_agents_options_count(small_archive, tmp_path):
    words = ["agents.rover", "--no-nonlinear", "--archive", str(small_archive), "--out", str(tmp_path / "film.gif")]
    assert main(words) == 0
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 25


@pytest.mark.parametrize(
    "words, message",
    [
        (["agents.last_frme"], "did you mean 'agents.last_frame'?"),
        (["agents.last_frame", "--sequence", "13"], "has sequences 0 to 12, got 13"),
        (["agents.last_frame", "--out", "film.mp4"], "an animation is a .webp or .gif file, got film.mp4"),
        (["agents.last_frame", "--sequnce", "1"], "--sequence"),
        (["agents.last_frame", "--sequence", "-1"], "at least 0"),
        ([], "AGENT"),
    ],
)
def test_errors_name_what_is_wrong(small_archive, words, message, capsys):
    assert hko7env(["animate", *words, *(["--archive", str(small_archive)] if words else [])]) in (1, 2)
    assert message in capsys.readouterr().err
