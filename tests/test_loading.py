import re

import pytest

from hko7env.loading import available, find, load
from hko7env.testing import task


def test_names_resolve():
    assert type(load("agents.last_frame", task())).__name__ == "LastFrame"
    assert type(load("tests.helpers.toys", task())).__name__ == "Slow"
    assert type(load("tests.helpers.toys:learner", task(), delay=0.5)).__name__ == "Learner"
    assert load("tests.helpers.toys", task(), delay=0.5).config.delay == 0.5


@pytest.mark.parametrize(
    "name, options, error, message",
    [
        ("agents.last_fram", {}, ValueError, "there is no agent 'agents.last_fram', did you mean 'agents.last_frame'?"),
        ("nowhere.mine", {}, ValueError, "there is no agent 'nowhere.mine', only"),
        ("agents.last_frame:mak", {}, ValueError, "has no function mak"),
        ("agents.last_frame", {"speed": 1}, ValueError, "has no option 'speed', there are none"),
        (
            "tests.helpers.toys",
            {"dealy": 1},
            ValueError,
            "toys has no option 'dealy', did you mean 'delay'?",
        ),
        ("tests.helpers.toys:nobody", {}, TypeError, "made a object, which lacks store, update or predict"),
    ],
)
def test_what_cannot_be_loaded_is_named(name, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        load(name, task(), **options)


def test_the_shipped_agents_are_found():
    assert "agents.last_frame" in available()
    assert all(callable(find(name)[0]) for name in available())
