import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.interrupts import importing

ROOT = Path(__file__).resolve().parent.parent
TORCH = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)
except KeyboardInterrupt as error:
    raise ImportError("torch is half imported") from error
"""


@pytest.mark.parametrize("tool", ["train", "moving_mnist", "links"])
def test_an_interrupt_while_torch_is_imported_is_a_line(tmp_path, tool):
    (tmp_path / "torch.py").write_text(TORCH)  # found before torch itself, as the command runs in this folder
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr == f"\n{tool}: stopped before it began\n"


def test_an_interrupt_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with importing("train"):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_after_the_imports_an_interrupt_is_pythons_again():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(ImportError), importing("train"):
            raise ImportError
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("tool, place", [("links", "gymnasium.make"), ("moving_mnist", "parser"), ("train", "parser")])
def test_an_interrupt_at_the_start_of_the_work_is_a_line(monkeypatch, capsys, tool, place):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"tools.{tool}.{place}", interrupted)
    assert importlib.import_module(f"tools.{tool}").main(["some.safetensors"]) == 130
    assert "stopped" in capsys.readouterr().err
