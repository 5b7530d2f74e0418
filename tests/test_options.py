import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from hko7env.options import add_options, given, options_of


@dataclass(frozen=True)
class Config:
    steps: Annotated[int, "steps of the optimiser"] = 10
    rate: Annotated[float, "of Adam"] = 1e-4
    limit: Annotated[int | None, "sequences at most"] = None
    precision: Annotated[Literal["float32", "bf16"], "of products"] = "float32"
    checkpoint: Annotated[str | None, "file of weights, or none"] = None
    out_folder: Path = Path("results")
    balanced: Annotated[bool, "50 % more weight"] = True


def parse(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, Config)
    return given(parser.parse_args(list(words)), Config)


def test_what_is_not_given_is_left_to_the_dataclass():
    assert parse() == {}
    assert Config(**parse("--steps", "3")) == Config(steps=3)


def test_words_become_values_by_the_type_of_the_field():
    words = ["--rate", "0.5", "--limit", "7", "--precision", "bf16", "--out-folder", "a/b", "--no-balanced"]
    assert parse(*words, "--checkpoint", "none") == {
        "rate": 0.5,
        "limit": 7,
        "precision": "bf16",
        "out_folder": Path("a/b"),
        "balanced": False,
        "checkpoint": "none",  # a string may mean what its reader likes
    }
    assert parse("--limit", "none", "--balanced") == {"limit": None, "balanced": True}


@pytest.mark.parametrize(
    "words, message",
    [
        (["--steps", "many"], "--steps expects int, got 'many'"),
        (["--precision", "half"], "--precision is one of float32, bf16, got 'half'"),
    ],
)
def test_a_word_that_does_not_fit_is_named(words, message):
    with pytest.raises(argparse.ArgumentError, match=message):
        parse(*words)


def test_help_is_that_of_the_field(capsys):
    parser = argparse.ArgumentParser()
    add_options(parser, Config, skip=("rate",))
    text = parser.format_help()
    assert "steps of the optimiser; default: 10" in text
    assert "50 % more weight; default: on" in text
    assert "--rate" not in text


def test_a_type_that_no_flag_can_have_is_refused():
    @dataclass(frozen=True)
    class Odd:
        numbers: list[int] | None = None

    with pytest.raises(TypeError, match="numbers has a type that no flag can have"):
        options_of(Odd)
