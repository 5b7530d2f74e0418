"""Processes of tests: waiting for what they do, and for no longer than they live."""

import time


def wait_for(condition, process, seconds=400):
    """Wait until ``condition()`` holds; an error once ``process`` has ended or so many seconds have passed."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
