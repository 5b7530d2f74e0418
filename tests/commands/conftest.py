from typing import NamedTuple

import pytest

import hko7env.commands.evaluate
from hko7env.commands.main import main


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """Call ``hko7env`` with some words, in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hko7env.commands.evaluate, "default_workers", lambda: 1)

    def call(*words):
        status = main([str(word) for word in words])
        return Done(status, *capsys.readouterr())

    return call
