"""An archive that grows as a simulated clock goes on; nothing sleeps in earnest."""

import numpy as np

from hko7env.archive import Archive, create

SHAPE = (4, 8)


def levels(minutes, shape=SHAPE):
    """One frame of rain for each time, different at different times."""
    frames = [np.random.default_rng(int(m)).integers(71, 256, shape, np.uint8) for m in minutes]
    return np.stack(frames)


class Radar:
    """A writer that appends frames at planned times; ``clock`` and ``sleep`` are those of a waiting reader.

    ``now`` counts minutes; frames that arrive together are appended together.
    """

    def __init__(self, store, cadence=6, shape=SHAPE):
        self.store, self.shape, self.now, self.sleeps = store, shape, 0.0, []
        create(store, shape=shape, cadence=cadence)
        self._arrivals, self._calls, self._suspect = {}, [], set()

    def plan(self, arrivals, suspect=()):
        """Frames by their time in minutes, each with the minute at which it arrives."""
        self._arrivals |= arrivals
        self._suspect |= set(suspect)

    def at(self, minute, call):
        self._calls.append((minute, call))

    def clock(self):
        return self.now * 60

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.run_to(self.now + seconds / 60)

    def run_to(self, minute):
        self.now = float(minute)
        due = sorted(time for time, arrival in self._arrivals.items() if arrival <= self.now)
        for time in due:
            del self._arrivals[time]
        if due:
            archive = Archive(self.store, writable=True)
            newest = archive.times[-1] if len(archive) else -1
            fresh = [time for time in due if time > newest]
            archive.append(fresh, levels(fresh, self.shape), [int(time in self._suspect) for time in fresh])
        for when, call in [one for one in self._calls if one[0] <= self.now]:
            self._calls.remove((when, call))
            call()
