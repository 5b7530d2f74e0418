import json

import gymnasium
import pytest

import hko7env
from agents.benchmarks import online_learning
from agents.benchmarks.online_learning import VARIANTS, describe
from agents.learning.network_agent import Config
from hko7env.evaluation.run_folder import RunFolder
from hko7env.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_variant_can_be_made_and_no_two_are_alike():
    made = [(name == "offline", Config(**options)) for name, options in VARIANTS.items()]
    assert len(set(map(repr, made))) == len(VARIANTS)


def test_each_variant_is_scored_on_each_archive(command, small_archive, tmp_path, monkeypatch):
    chosen = ("offline", "Algorithm 1", "leads that are due")
    monkeypatch.setattr(online_learning, "VARIANTS", {name: VARIANTS[name] for name in chosen})
    words = ("benchmark", "online-learning", "--archive", small_archive, "--models", "convgru", "--limit", "6")
    done = command(*words, "--split", "test")
    assert done.status == 0, done.err
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [line["name"] for line in found] == [f"online-learning/small/convgru/{name}" for name in chosen]
    env = gymnasium.make("HKO7-Offline-v0", archive=str(small_archive)).unwrapped
    wanted = describe(hko7env.run(env, load("agents.convgru", env.task), options={"start": 0, "stop": 6}))
    assert found[0] == {"name": found[0]["name"], **wanted}
    assert wanted["sequences"] == 6
    errors = {RunFolder.open(path).tally().squared.tobytes() for path in (tmp_path / "results").iterdir()}
    assert len(errors) == 3, "learning moves the scores, and by other windows otherwise"
    assert command(*words).status == 1, "the split valid is the default, and this archive has none"
