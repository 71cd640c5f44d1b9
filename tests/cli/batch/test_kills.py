"""The command as a process that is killed, stopped, or has no room: no answer is lost."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cli.batch.work import errors_path
from common.instance import Instance
from gateway.exchange import Exchange
from tests.cli.batch.batches import answers, command, ended, failures, many
from tests.fakes.running import FakeEngine
from tests.gateway.house import House, eventually

CONCURRENCY = 8


@pytest.fixture
def asked(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The custom_ids in the order in which the endpoint is asked."""
    ids: list[str] = []
    run = house.gateway.forwarder.run

    async def noted(exchange: Exchange, *rest: Any) -> None:
        ids.append(json.loads(exchange.body)["messages"][-1]["content"].split()[0])
        await run(exchange, *rest)

    monkeypatch.setattr(house.gateway.forwarder, "run", noted)
    return ids


def whole_lines(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


def written_ids(out: Path) -> set[str]:
    if not out.exists():
        return set()
    lines = out.read_bytes().splitlines(keepends=True)
    return {json.loads(each)["custom_id"] for each in lines if each.endswith(b"\n")}


def wait_for_lines(process: subprocess.Popen[str], out: Path, lines: int) -> None:
    end_s = time.monotonic() + 120
    while process.poll() is None and whole_lines(out) < lines:
        assert time.monotonic() < end_s
        time.sleep(0.002)


def test_500_requests_and_kills_at_random(
    instance: Instance, engine: FakeEngine, asked: list[str], tmp_path: Path
) -> None:
    chance = random.Random(6)
    many(tmp_path / "in.jsonl", 500, "안녕")
    out = tmp_path / "out.jsonl"
    engine.pace(first_token_delay_s=0.02)
    words = (tmp_path / "in.jsonl", out, "--concurrency", CONCURRENCY)
    kills, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        written, so_far = written_ids(out), len(asked)
        process = command(*words)
        wait_for_lines(process, out, len(written) + chance.randrange(100))
        time.sleep(chance.random() * 0.02)
        process.kill()
        code, _, err = ended(process)
        assert not written & set(asked[so_far:]), "asked again after its answer was written"
        assert len(set(asked[so_far:])) == len(asked) - so_far, "asked twice in one run"
        kills += code == -signal.SIGKILL
        if kills == 12:  # the rest in peace
            code, _, err = ended(command(*words))
    assert code == 0, err
    assert kills >= 3
    assert answers(out).keys() == {f"id-{i}" for i in range(500)}
    assert failures(out) == {}
    assert 500 <= engine.stats()["requests"] <= 500 + kills * CONCURRENCY


def test_ctrl_c(instance: Instance, engine: FakeEngine, asked: list[str], tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 60)
    out = tmp_path / "out.jsonl"
    engine.pace(first_token_delay_s=0.1)
    process = command(tmp_path / "in.jsonl", out, "--concurrency", 4)
    wait_for_lines(process, out, 8)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    done = whole_lines(out)
    assert 8 <= done < 60
    assert f"stopped: {done} of 60 are done; the same command goes on from there" in err
    assert "Traceback" not in err
    eventually(lambda: engine.stats()["in_flight"] == 0)
    engine.reset()
    code, told, _ = ended(command(tmp_path / "in.jsonl", out, "--json"))
    assert code == 0
    summary = json.loads(told)
    assert (summary["before"], summary["answered"]) == (done, 60)
    assert len(answers(out)) == 60
    assert len(asked) <= 60 + 4


def test_no_room_on_the_disk(engine: FakeEngine, tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 200)
    out = tmp_path / "out.jsonl"
    room_bytes = 20_000

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))

    words = (tmp_path / "in.jsonl", out, "--url", engine.url, "--concurrency", CONCURRENCY)
    code, _, err = ended(command(*words, preexec=small))
    assert code == 1
    assert f"{out}: cannot be written: File too large. What is in it is kept; make room" in err
    assert "Traceback" not in err
    done = answers(out)  # whole lines only
    assert 0 < len(done) < 200
    before = engine.stats()["requests"]
    assert before <= len(done) + CONCURRENCY
    code, _, _ = ended(command(*words))
    assert code == 0
    assert len(answers(out)) == 200
    assert engine.stats()["requests"] == before + 200 - len(done)


def test_wrong_lines_as_a_user_sees_them(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "가", "text": "하나"}\n{"id": "가", "text": "둘"}\n{"id": "나"\n')
    code, told, err = ended(command(path, tmp_path / "out.jsonl", "--url", engine.url))
    assert (code, told) == (2, "")
    assert err.splitlines()[:2] == [
        "roundhouse: nothing was sent:",
        f"{path}:2: custom_id '가' stands on line 1 already",
    ]
    assert err.splitlines()[2].startswith(f"{path}:3: not JSON: ")
    assert engine.stats()["requests"] == 0


def test_two_runs_on_one_output(engine: FakeEngine, tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 40)
    out = tmp_path / "out.jsonl"
    engine.pace(first_token_delay_s=0.2)
    words = (tmp_path / "in.jsonl", out, "--url", engine.url, "--concurrency", 2)
    first = command(*words)
    wait_for_lines(first, out, 1)
    code, _, err = ended(command(*words))
    assert code == 1
    assert "another `roundhouse batch` writes it now" in err
    engine.reset()
    assert ended(first)[0] == 0
    assert len(answers(out)) == 40


# What a process held at most since it was started, in KiB.
PEAK = """
import sys
from cli.main import main
try:
    main()
finally:
    status = open("/proc/self/status").read()
    print("PEAK", status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def peak_kib(engine: FakeEngine, folder: Path, n: int) -> int:
    folder.mkdir()
    many(folder / "in.jsonl", n, "가나다 " * 600)
    words = (folder / "in.jsonl", folder / "out.jsonl", "--url", engine.url)
    code, _, err = ended(command(*words, program=("-c", PEAK)))
    assert code == 0, err
    assert whole_lines(folder / "out.jsonl") == n
    assert not errors_path(folder / "out.jsonl").exists()
    return int(err.split("PEAK")[1].split()[0])


def test_memory_does_not_grow_with_the_input(engine: FakeEngine, tmp_path: Path) -> None:
    small = peak_kib(engine, tmp_path / "small", 100)
    large = peak_kib(engine, tmp_path / "large", 10_000)
    assert (tmp_path / "large" / "in.jsonl").stat().st_size > 50 << 20
    assert large - small < 16 << 10, f"{small} KiB, then {large} KiB"
