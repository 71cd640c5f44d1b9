"""What a pull says where there is no terminal."""

from __future__ import annotations

import pytest

from cli.pull_progress import PullProgress

MIB = 1 << 20


def test_bytes_share_and_rate_of_this_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.hub.lines.time.monotonic", lambda: 100.0)
    progress = PullProgress("org/m")
    progress.begin(files=2, total_bytes=1000 * MIB, have_bytes=200 * MIB)
    progress.advance(300 * MIB)
    assert progress.line(110.0) == "org/m: 500 MiB of 1000 MiB (50 %), 30 MiB/s"


def test_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("engines.hub.lines.time.monotonic", lambda: now)
    with PullProgress("org/m") as progress:
        progress.begin(files=1, total_bytes=100 * MIB, have_bytes=0)
        for _ in range(100):
            now += 0.5
            progress.advance(MIB)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 + 10  # 50 s, one in five
    assert told[-1] == "roundhouse: org/m: 100 MiB of 100 MiB (100 %), 2 MiB/s"


def test_nothing_to_fetch_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    PullProgress("org/m").begin(files=0, total_bytes=5, have_bytes=5)
    assert capsys.readouterr().err == ""
