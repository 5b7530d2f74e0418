import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hko7env.commands.interrupts import importing, stop_requests

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)
except BaseException as error:  # as some compiled modules do
    raise ImportError("the module is half imported") from error
"""


def heed_interrupts():
    """Undo what a shell does to its background jobs, whose children would not notice the signal either."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    "module, words",
    [
        ("numpy", ["tools/archive.py", "describe", "nowhere.zarr"]),
        ("zarr", ["tools/evaluate.py", "agents.last_frame"]),
        ("torch", ["tools/evaluate.py", "agents.trajgru"]),
        ("torch", ["tools/train.py", "--help"]),
        ("torch", ["-m", "hko7env", "train", "--help"]),
    ],
)
def test_an_interrupt_during_the_imports_is_a_line(tmp_path, module, words):
    (tmp_path / f"{module}.py").write_text(MODULE)  # found before the module itself
    script = [str(ROOT / word) if word.startswith("tools/") else word for word in words]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, *script], cwd=tmp_path, env=here, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    name = words[2] if words[0] == "-m" else Path(words[0]).stem
    assert (done.returncode, done.stderr) == (130, f"\nhko7env {name}: stopped before it started\n")


def test_an_interrupt_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with importing("hko7env train"):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_after_the_imports_an_interrupt_is_pythons_again():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(ImportError), importing("hko7env train"):
            raise ImportError
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_of_the_work_is_a_line(command, small_archive, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hko7env.commands.evaluate.evaluate_all", interrupted)
    done = command("evaluate", "agents.last_frame", "--archive", small_archive)
    assert (done.status, done.out) == (130, "")
    assert (
        done.err == "\nhko7env evaluate: stopped; what is finished is kept, and the same command continues from there\n"
    )


def test_sigterm_asks_a_command_to_end_and_restores_the_handlers():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_requests() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_ctrl_c_ends_the_work_in_hand_first_and_a_second_one_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        done.append("the work in hand")
        os.kill(os.getpid(), signal.SIGINT)
        done.append("more work")
    assert done == ["the work in hand"]
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        done.append("all of it")
    assert done[-1] == "all of it"
