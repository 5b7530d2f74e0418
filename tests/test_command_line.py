import argparse
from pathlib import Path

import pytest

from hko7env.command_line import Parser, UsageError, add_archive, add_out, add_workers, integer


def test_the_parser_says_what_is_wrong():
    parser = Parser("program go", "About.", renamed={"--size": "--preset"})
    parser.add_argument("--preset", choices=("small", "large"))
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--count", type=integer(2))
    assert parser.parse_args(["--preset", "small", "--count", "2"]).count == 2
    for words, message in (
        (["--prset", "small"], "there is no option '--prset', did you mean '--preset'?"),
        (["--pre", "small"], "there is no option '--pre'"),
        (["--size=small"], "there is no option '--size', use --preset"),
        (["--preset", "medium"], "argument --preset: invalid choice: 'medium'"),
        (["--fast", "true"], "unexpected 'true': an option that is true or false is given as --name or --no-name"),
        (["nothing"], "unexpected 'nothing': it belongs to no option"),
        (["--count", "1"], "argument --count: must be at least 2, got 1"),
        (["--count", "two"], "argument --count: expects an integer, got 'two'"),
    ):
        with pytest.raises(UsageError) as error:
            parser.parse_args(words)
        assert message in str(error.value), words


def test_shared_arguments_are_the_same_everywhere():
    parser = Parser("program go", "Calls ``go``.")
    add_archive(parser)
    add_workers(parser)
    add_out(parser, "a folder", "results")
    assert parser.parse_args([]) == argparse.Namespace(archive=None, workers=1, out=Path("results"))
    required = Parser("program go", "About.")
    add_archive(required, required=True)
    add_out(required, "a file", kind=str)
    assert required.parse_args(["--archive", "a", "--out", "s3://b"]).out == "s3://b"
    with pytest.raises(UsageError, match="required: --archive, --out"):
        required.parse_args([])
    text = parser.format_help()
    assert "Calls go." in text
    assert "a folder; default: results" in text
