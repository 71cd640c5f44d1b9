"""One output belongs to one input, and to one run at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.batch.claim import Claim, claim_path, claimed
from common.errors import StartError, UsageError

CLAIM = Claim("in.jsonl", "00ff", "m", None)


def test_the_same_may_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for claim in (CLAIM, CLAIM, replace(CLAIM, input="moved.jsonl")):
        with claimed(out, claim):
            out.write_text("{}\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sha256": "11"}, r"in\.jsonl: is not what .*out\.jsonl was begun with .*put it back, or"),
        ({"model": "n"}, r"--model: .* was begun with m, not with n; give the same"),
        ({"max_tokens": 9}, r"--max-tokens: .* was begun with None, not with 9"),
    ],
)
def test_another_may_not(tmp_path: Path, change: dict[str, object], why: str) -> None:
    out = tmp_path / "out.jsonl"
    with claimed(out, CLAIM):
        pass
    with pytest.raises(UsageError, match=why), claimed(out, replace(CLAIM, **change)):  # type: ignore[arg-type]
        pass
    with claimed(out, CLAIM):  # nothing was changed by the refusal
        pass


def test_two_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    busy = pytest.raises(StartError, match="another `roundhouse batch` writes it now")
    with claimed(out, CLAIM):
        with busy, claimed(out, CLAIM):
            pass
        with claimed(tmp_path / "other.jsonl", CLAIM):
            pass


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine\n")
    refused = pytest.raises(UsageError, match="is there already, and no batch of ours")
    with refused, claimed(out, CLAIM):
        pass
    assert out.read_text() == "mine\n"


@pytest.mark.parametrize("torn", ["", '{"input": "in', "[]", "{}"])
def test_a_claim_that_was_cut_off(tmp_path: Path, torn: str) -> None:
    out = tmp_path / "out.jsonl"
    claim_path(out).write_text(torn)
    with claimed(out, CLAIM):
        pass
    with pytest.raises(UsageError), claimed(out, replace(CLAIM, sha256="11")):
        pass


def test_nowhere_to_write(tmp_path: Path) -> None:
    refused = pytest.raises(UsageError, match="cannot be written: No such file")
    with refused, claimed(tmp_path / "no" / "out.jsonl", CLAIM):
        pass
