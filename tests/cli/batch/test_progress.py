"""What is told while a batch runs."""

from __future__ import annotations

import pytest

from cli.batch.progress import BatchProgress, pace


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0, 0, 10, 0, 1.0), "0.0/s"),
        ((0, 20, 100, 0, 10.0), "2.0/s, 40s left"),
        ((50, 20, 100, 3, 10.0), "2.0/s, 15s left, 3 failed"),
        ((50, 50, 100, 0, 10.0), "5.0/s, 0s left"),
    ],
)
def test_rate_and_time_left(numbers: tuple[int, int, int, int, float], words: str) -> None:
    assert pace(*numbers) == words


def test_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with BatchProgress(8, 2) as progress:
        progress.add(is_answer=True)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr("cli.batch.progress._LINE_PERIOD_S", 0.0)
        progress.add(is_answer=False)
    told = capsys.readouterr().err
    assert told.startswith("roundhouse: 4 of 8 (50 %), ")
    assert told.endswith(" left, 1 failed\n")


def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with BatchProgress(8, 2) as progress:
        progress.add(is_answer=True)
    told = capsys.readouterr().err
    assert "3/8" in told
    assert "/s, " in told
