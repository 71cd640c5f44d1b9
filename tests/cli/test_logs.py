from __future__ import annotations

from pathlib import Path

import pytest

from cli.logs import log_files, show_logs
from common.errors import StartError, UsageError
from common.instance import log_path


@pytest.fixture
def logs() -> Path:
    for name in ("m-0", "m-1", "router", "Qwen/Qwen3-0"):
        file = log_path(8000, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name} line {i}\n" for i in range(10)))
    return file.parent


def test_without_logs() -> None:
    with pytest.raises(StartError, match="there are no logs"):
        log_files("m", None)


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("m", ["m-0", "m-1"]),
        ("m-1", ["m-1"]),
        ("router", ["router"]),
        ("Qwen/Qwen3", ["Qwen_Qwen3-0"]),
    ],
)
def test_a_model_a_replica_the_router(name: str, found: list[str]) -> None:
    assert [file.stem for file in log_files(name, 8000)] == found
    assert [file.stem for file in log_files(name, None)] == found, "the last that ran"


@pytest.mark.usefixtures("logs")
def test_an_unknown_name_is_told_with_the_known() -> None:
    with pytest.raises(UsageError, match=r"no log of 'x'; there are: .*m-0, m-1, router"):
        log_files("x", None)


@pytest.mark.usefixtures("logs")
def test_the_end_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs("m", follow=False, lines=2, port=8000)
    assert capsys.readouterr().out == (
        "==> m-0.log <==\nm-0 line 8\nm-0 line 9\n==> m-1.log <==\nm-1 line 8\nm-1 line 9\n"
    )
