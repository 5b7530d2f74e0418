import numpy as np

from agents.learning.replay import ReplayBuffer
from hko7env.testing import observation, task

SOME = task(60, 60)


def stream(steps, episodes=(0,)):
    return [observation(SOME, 0, step, new_episode=step in episodes) for step in range(steps)]


def test_the_buffer_gives_the_last_frames_back():
    buffer = ReplayBuffer((5, 60, 60), 25)
    shown = stream(9, episodes=(0, 3))
    shown[6]["present"][:] = [1, 0, 1, 1, 1]
    for step, one in enumerate(shown):
        buffer.append(one)
        assert (buffer.newest() is not None) == (step >= 7)
        assert len(buffer.segments) <= 5
    frames, present = buffer.frames(buffer.newest())
    wanted = np.concatenate([one["frames"] for one in shown[4:]])
    wanted[11] = 0
    np.testing.assert_array_equal(frames, wanted)
    assert np.flatnonzero(~present).tolist() == [11]


def test_a_window_need_not_be_whole_segments():
    buffer = ReplayBuffer((5, 60, 60), 12)
    shown = stream(3)
    for one in shown:
        buffer.append(one)
    frames, _ = buffer.frames(buffer.newest())
    np.testing.assert_array_equal(frames, np.concatenate([one["frames"] for one in shown])[-12:])


def test_replay_keeps_older_windows_within_its_bytes_and_never_across_episodes():
    buffer = ReplayBuffer((5, 60, 60), 25, past=True, limit=1e9)
    for one in stream(14, episodes=(0, 6)):
        buffer.append(one)
    random = np.random.default_rng(0)
    drawn = buffer.draw(99, buffer.newest(), random)
    assert len(drawn) == 2 + 3
    assert all(len({segment.episode for segment in window}) == 1 for window in drawn)
    small = ReplayBuffer((5, 60, 60), 25, past=True, limit=buffer.nbytes / 2)
    for one in stream(40, episodes=(0, 6)):
        small.append(one)
        assert small.nbytes <= small.limit or len(small.segments) == 5
    assert len(small.segments) > 5
