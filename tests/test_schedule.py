import csv
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.archive.format import iso
from hko7env.schedule import schedule, valid_starts

SHA256 = {  # published walks of the official lists
    "test": "31b55008026d5bfe740cf0a9e8637da097c1e00ea90420b9b4d771f8bedf9394",
    "train": "334bc5d1d8e4ae93ac0aede99aefac7414a5f60a7c0ca2a5e412de0815e845dd",
}


def official(shared, name):
    with gzip.open(shared / "hko7" / f"index_rainy_{name}.csv.gz", "rt") as file:
        stamps = [row["time"] for row in csv.DictReader(file)]
    return np.array(stamps, "datetime64[m]").astype(np.int64)


@pytest.fixture(scope="module")
def official_test(shared):
    return official(shared, "test")


def test_official_test_walk(shared, official_test):
    walk = schedule(official_test)
    assert len(official_test) == 31_350
    assert (len(walk), len(walk.episode_starts)) == (6053, 56)
    assert walk.sha256 == SHA256["test"]
    reference = json.loads((shared / "hko7" / "schedule_reference.json").read_text())
    starts = reference["schedules"]["rainy_test"]["online"]["episode_start"]
    assert [iso(walk.starts[i]) + ":00" for i in walk.episode_starts] == starts
    # missing truth per lead, re-derived from the list
    missing = ~np.isin(np.stack([walk.slots(i)[5:] for i in range(len(walk))]), official_test)
    assert missing.sum(axis=0).tolist() == [7, 3, 6, 6, 10, 6, 2, 6, 6, 10, 6, 2, 6, 6, 9, 6, 2, 6, 7, 13]


def test_official_train_walk(shared):
    walk = schedule(official(shared, "train"))
    assert (len(walk), len(walk.episode_starts)) == (37_114, 329)
    assert walk.sha256 == SHA256["train"]


@pytest.mark.parametrize("max_missing, sequences", [(0, 5902), (1, 6052), (2, 6053), (3, 6053)])
def test_official_counts_under_other_missing_rules(official_test, max_missing, sequences):
    assert len(schedule(official_test, max_missing=max_missing)) == sequences


def slow(times, inputs, leads, stride, cadence, max_missing):
    """The four rules of the released iterator, restated without regard to speed."""
    result, cursor, passed_invalid = [], times[0] if times else 0, False
    while times and cursor <= times[-1]:
        window = [cursor + i * cadence in times for i in range(inputs + leads)]
        runs = "".join("x" if there else "-" for there in window)
        if "x" not in runs or "-" * (max_missing + 1) in runs:
            passed_invalid = True
            later = [t for t in times if t > cursor]
            if not later:
                break
            cursor = later[0]
        else:
            result.append((cursor, cursor == times[0] or passed_invalid))
            passed_invalid = False
            cursor += stride * cadence
    return result


@st.composite
def some_times(draw):
    """Minutes with single misses, gaps and off-grid stamps."""
    steps = draw(st.lists(st.sampled_from([6, 6, 6, 6, 6, 6, 12, 18, 24, 5, 7, 300]), max_size=120))
    return np.cumsum([draw(st.integers(-100, 100)) * 6, *steps]).tolist()


@given(
    some_times(),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([5, 6, 10]),
    st.integers(0, 3),
)
def test_walk_equals_the_slow_restatement(times, inputs, leads, stride, cadence, max_missing):
    walk = schedule(times, inputs=inputs, leads=leads, stride=stride, cadence=cadence, max_missing=max_missing)
    expected = slow(times, inputs, leads, stride, cadence, max_missing)
    assert list(zip(walk.starts.tolist(), walk.new_episode.tolist(), strict=True)) == expected


@given(some_times(), st.integers(1, 6), st.integers(1, 6), st.sampled_from([5, 6, 10]), st.integers(0, 3))
def test_a_window_may_begin_where_a_schedule_would(times, inputs, leads, cadence, max_missing):
    settings = {"inputs": inputs, "leads": leads, "cadence": cadence, "max_missing": max_missing}
    onward = [schedule(times[i:], **settings) for i in range(len(times))]
    expected = [t for t, walk in zip(times, onward, strict=True) if len(walk) and walk.starts[0] == t]
    assert valid_starts(np.array(times), **settings).tolist() == expected


@given(some_times(), some_times())
def test_a_long_gap_splits_the_schedule(first, second):
    shift = first[-1] - second[0] + 1000
    later = [t + shift for t in second]
    joined, left, right = schedule(first + later), schedule(first), schedule(later)
    assert joined.starts.tolist() == left.starts.tolist() + right.starts.tolist()
    assert joined.new_episode.tolist() == left.new_episode.tolist() + right.new_episode.tolist()


@given(some_times())
def test_every_sequence_belongs_to_the_episode_that_began_last(times):
    walk = schedule(times, inputs=2, leads=3, stride=2)
    for i in range(len(walk)):
        assert walk.episode(i) == walk.new_episode[: i + 1].sum() - 1


def test_nothing_to_walk():
    assert len(schedule([])) == 0
    assert len(schedule([0])) == 0
    assert len(schedule(6 * np.arange(22))) == 0  # 3 frames short of a window
    assert len(schedule(6 * np.arange(23))) == 1  # 2 short, as the official rule allows


@pytest.mark.parametrize(
    "times, message",
    [
        ([6, 0], "strictly increasing"),
        ([0, 0], "strictly increasing"),
        ([[0, 6]], "times must be"),
        ([0.0, 6.0], "times must be"),
    ],
)
def test_bad_times_are_named(times, message):
    with pytest.raises(ValueError, match=message):
        schedule(times)


@pytest.mark.parametrize("name", ["inputs", "leads", "stride", "cadence"])
def test_bad_settings_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        schedule([0, 6], **{name: 0})
