"""A missed target is told; whether it is an error is for the caller to say."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import goals


@pytest.mark.parametrize(
    ("missed", "options", "code"),
    [([], [], 0), ([], ["--strict"], 0), (["a"], [], 0), (["a", "b"], ["--strict"], 1)],
)
def test_the_exit_code(
    missed: list[str], options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    goals.add_strict(parser)
    assert goals.exit_code(iter(missed), strict=parser.parse_args(options).strict) == code
    told = capsys.readouterr().err.splitlines()
    assert told == [f"target missed: {name}" for name in missed]
