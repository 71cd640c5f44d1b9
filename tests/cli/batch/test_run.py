"""A whole run, in this process: what is asked, what is written, what is told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.batch.request import Plain
from cli.batch.run import Wish, batch, seconds
from cli.batch.send import Sender
from cli.batch.server import Server, concurrency_of
from cli.batch.source import checked
from cli.batch.work import errors_path
from common.errors import NotAnsweringError, StartError, UsageError
from common.instance import Instance
from tests.cli.batch.batches import answers, failures, line, many, written
from tests.cli.conftest import TOKEN
from tests.fakes.running import FakeEngine
from tests.gateway.house import House


def wish(tmp_path: Path, engine: FakeEngine | None = None, **more: Any) -> Wish:
    url = {"url": engine.url} if engine else {}
    return Wish(tmp_path / "in.jsonl", tmp_path / "out.jsonl", **(url | more))


def test_a_roundhouse_that_runs(
    instance: Instance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many(tmp_path / "in.jsonl", 20, "안녕하세요")
    assert batch(wish(tmp_path), as_json=True) == 0
    found = answers(tmp_path / "out.jsonl")
    assert found.keys() == {f"id-{i}" for i in range(20)}
    response = found["id-3"]["response"]
    assert response["status_code"] == 200
    assert response["request_id"].startswith("req-")
    assert response["body"]["choices"][0]["message"]["content"] == "t0 t1 t2 "
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["requests"], told["answered"], told["failed"]) == (20, 20, 0)
    (m,) = told["models"]
    assert (m["model"], m["requests"], m["tokens_out"]) == ("m", 20, 60)
    assert m["latency_p95_s"] >= m["latency_p50_s"] > 0
    assert f"20 requests to {instance.url}, 32 at once" in err


def test_a_list_of_prompts_is_asked_of_auto(
    instance: Instance, engine: FakeEngine, tmp_path: Path
) -> None:
    prompt = 'Say "안녕" 🙂'
    (tmp_path / "in.txt").write_text(f"{prompt}\n")
    assert batch(Wish(tmp_path / "in.txt", tmp_path / "out"), as_json=False) == 0
    body = json.loads(engine.stats()["last"]["body"])
    assert body["messages"] == [{"role": "user", "content": prompt}]
    assert body["model"] in ("m", "owner/model")
    assert answers(tmp_path / "out").keys() == {"line-1"}


def test_completions_and_embeddings(engine: FakeEngine, tmp_path: Path) -> None:
    written(
        tmp_path / "in.jsonl",
        line("c", url="/v1/completions", body={"model": "m", "prompt": "x"}),
        line("e", url="/v1/embeddings", body={"model": "m", "input": ["x"]}),
    )
    assert batch(wish(tmp_path, engine), as_json=False) == 0
    found = answers(tmp_path / "out.jsonl")
    assert found["c"]["response"]["body"]["object"] == "text_completion"
    assert found["e"]["response"]["body"]["data"][0]["embedding"] == [1.0, 0.0, 0.0, 0.0]


def test_wrong_lines_send_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    written(tmp_path / "in.jsonl", line("a"), line("a"))
    with pytest.raises(UsageError, match=r"in\.jsonl:2: custom_id 'a' stands on line 1 already"):
        batch(wish(tmp_path, engine), as_json=False)
    assert engine.stats()["requests"] == 0
    assert [each.name for each in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_failure_is_kept_apart_and_asked_again_on_wish(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    written(tmp_path / "in.jsonl", line("a"), line("b"), line("c"))
    engine.behave(mode="status", status=400, times=1)
    asked = wish(tmp_path, engine, concurrency=1)
    assert batch(asked, as_json=False) == 1
    assert answers(out).keys() == {"b", "c"}
    failed = failures(out)["a"]
    assert failed["response"]["status_code"] == 400
    assert failed["response"]["body"]["error"]["message"] == "a fake fault"
    told = capsys.readouterr().out
    assert f"2 of 3 answered: {out}\n1 failed: {errors_path(out)} (--retry-failed asks" in told
    assert batch(asked, as_json=False) == 1
    assert engine.stats()["requests"] == 3
    capsys.readouterr()
    assert batch(replace(asked, retry_failed=True), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["answered"] == 3
    assert engine.stats()["requests"] == 4
    assert answers(out).keys() == {"a", "b", "c"}
    assert failures(out) == {}


def test_the_failures_are_kept_until_the_server_is_there(
    engine: FakeEngine, tmp_path: Path
) -> None:
    written(tmp_path / "in.jsonl", line("a"))
    engine.behave(mode="status", status=400, times=1)
    assert batch(wish(tmp_path, engine), as_json=False) == 1
    with pytest.raises(StartError):
        batch(wish(tmp_path, retry_failed=True), as_json=False)
    with pytest.raises(NotAnsweringError):
        batch(wish(tmp_path, url="http://127.0.0.1:1", retry_failed=True), as_json=False)
    assert failures(tmp_path / "out.jsonl").keys() == {"a"}


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        ({"mode": "status", "status": 429, "headers": {"retry-after": "0"}, "times": 6}, 7),
        ({"mode": "status", "status": 503, "headers": {"retry-after": "0"}, "times": 6}, 7),
        ({"mode": "status", "status": 502, "times": 2}, 3),
        ({"mode": "cut_before_first_byte", "times": 2}, 3),
        ({"mode": "cut_stream", "n": 1, "times": 2}, 3),
    ],
    ids=["429", "503", "502", "cut off", "cut within"],
)
def test_what_passes_is_waited_for(
    engine: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    requests: int,
) -> None:
    monkeypatch.setattr("cli.batch.retry._BACKOFF_S", 0.01)
    written(tmp_path / "in.jsonl", line("a"))
    engine.behave(**fault)
    assert batch(wish(tmp_path, engine), as_json=False) == 0
    assert engine.stats()["requests"] == requests
    assert failures(tmp_path / "out.jsonl") == {}


def test_retry_after_is_kept_to(engine: FakeEngine, tmp_path: Path) -> None:
    written(tmp_path / "in.jsonl", line("a"))
    engine.behave(mode="status", status=429, headers={"retry-after": "2"}, times=1)
    began_s = time.monotonic()
    assert batch(wish(tmp_path, engine), as_json=False) == 0
    assert time.monotonic() - began_s >= 2


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"mode": "hang"}, None, "deadline_exceeded"),
        ({"mode": "status", "status": 503, "headers": {"retry-after": "60"}}, 503, None),
        ({"mode": "status", "status": 503, "headers": {"x-should-retry": "false"}}, 503, None),
    ],
    ids=["silence", "busy for longer", "of no use"],
)
def test_the_time_of_a_request_ends(
    engine: FakeEngine, tmp_path: Path, fault: dict[str, Any], status: int | None, code: str | None
) -> None:
    written(tmp_path / "in.jsonl", line("a"))
    engine.behave(**fault)
    assert batch(wish(tmp_path, engine, timeout_s=1.0), as_json=False) == 1
    failed = failures(tmp_path / "out.jsonl")["a"]
    assert (failed["response"] or {}).get("status_code") == status
    assert (failed["error"] or {}).get("code") == code
    assert engine.stats()["requests"] == 1


def test_a_server_that_restarts_in_the_middle(tmp_path: Path) -> None:
    """Killed with requests under way, and away for a while."""
    many(tmp_path / "in.jsonl", 120)
    out = tmp_path / "out.jsonl"
    with FakeEngine(model="m", first_token_delay_s=0.03) as engine:
        port = int(engine.url.rsplit(":", 1)[1])
        codes: list[int] = []
        asked = wish(tmp_path, engine, concurrency=4)
        client = threading.Thread(target=lambda: codes.append(batch(asked, as_json=False)))
        client.start()
        _wait(lambda: out.exists() and out.read_bytes().count(b"\n") >= 20)
        engine.kill()
        time.sleep(1.0)
        assert client.is_alive()
        with FakeEngine(model="m", port=port):
            client.join(60)
    assert codes == [0]
    assert len(answers(out)) == 120


def test_a_server_that_does_not_come_back_fails_no_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many(tmp_path / "in.jsonl", 5)
    with FakeEngine(model="m") as engine:
        engine.behave(mode="exit", path="/v1/chat/completions")
        with pytest.raises(NotAnsweringError, match="run the same command again when it is up"):
            batch(wish(tmp_path, engine, timeout_s=1.0), as_json=False)
    assert failures(tmp_path / "out.jsonl") == {}
    err = capsys.readouterr().err
    assert err.count("does not answer; waiting for it") == 1
    assert "stopped: 0 of 5 are done; the same command goes on from there" in err
    with FakeEngine(model="m") as engine:
        assert batch(wish(tmp_path, engine), as_json=False) == 0


def test_the_token_of_a_roundhouse_that_was_started_anew(
    instance: Instance, tmp_path: Path
) -> None:
    (request,) = checked(many(tmp_path / "in.jsonl", 1), Plain()).requests(set())

    async def ask() -> int | None:
        server = Server(instance.url, "of the start before")
        async with Sender(server, 1, 10.0, print) as sender:
            return (await sender.ask(request)).status

    assert asyncio.run(ask()) == 200


def test_a_wrong_key_writes_no_failures(house: House, tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 5)
    with pytest.raises(NotAnsweringError, match="answers HTTP 401: set ROUNDHOUSE_API_KEY"):
        batch(wish(tmp_path, url=f"{house.url}/v1/"), as_json=False)
    assert failures(tmp_path / "out.jsonl") == {}


def test_the_key_of_the_environment(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path / "in.jsonl", 5)
    monkeypatch.setenv("ROUNDHOUSE_API_KEY", TOKEN)
    assert batch(wish(tmp_path, url=f"{house.url}/v1/"), as_json=False) == 0


def test_nothing_runs(tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 1)
    with pytest.raises(StartError, match="no Roundhouse runs; start one with `roundhouse serve`"):
        batch(wish(tmp_path), as_json=False)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(NotAnsweringError, match=r"does not answer: .*with `roundhouse serve`, or"):
        batch(wish(tmp_path, url=url), as_json=False)


def test_wrong_use(engine: FakeEngine, tmp_path: Path) -> None:
    path = many(tmp_path / "in.jsonl", 1)
    for more, why in [
        ({"model": "m"}, "--model and --max-tokens are for plain lists"),
        ({"max_tokens": 3}, "are for plain lists"),
        ({"out": path}, "would be written over the input"),
        ({"port": 1}, "--port and --url exclude each other"),
        ({"url": "localhost:1"}, "must begin with http"),
        ({"out": tmp_path / "no" / "out"}, "cannot be written: No such file"),
    ]:
        with pytest.raises(UsageError, match=why):
            batch(replace(wish(tmp_path, engine), **more), as_json=False)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"--timeout: 'soon' is not a duration"):
        seconds("soon")


def test_an_input_that_changed(engine: FakeEngine, tmp_path: Path) -> None:
    path = many(tmp_path / "in.jsonl", 2)
    assert batch(wish(tmp_path, engine), as_json=False) == 0
    many(path, 3)
    with pytest.raises(UsageError, match=r"in\.jsonl: is not what .* was begun with"):
        batch(wish(tmp_path, engine), as_json=False)
    assert engine.stats()["requests"] == 2


def test_an_output_that_is_not_of_this_input(engine: FakeEngine, tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 2)
    assert batch(wish(tmp_path, engine), as_json=False) == 0
    with (tmp_path / "out.jsonl").open("a") as file:
        file.write('{"custom_id": "stranger"}\n')
    with pytest.raises(UsageError, match=r"has custom_id 'stranger', which .* has not"):
        batch(wish(tmp_path, engine), as_json=False)


def test_a_finished_batch_needs_no_server(engine: FakeEngine, tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 2)
    assert batch(wish(tmp_path, engine), as_json=False) == 0
    assert batch(wish(tmp_path), as_json=False) == 0


def test_so_many_at_once_and_no_more(engine: FakeEngine, tmp_path: Path) -> None:
    many(tmp_path / "in.jsonl", 40)
    engine.pace(first_token_delay_s=0.1)
    seen: list[int] = []
    asked = wish(tmp_path, engine, concurrency=5)
    client = threading.Thread(target=lambda: batch(asked, as_json=False))
    client.start()
    while client.is_alive():
        seen.append(engine.stats()["in_flight"])
        time.sleep(0.01)
    client.join()
    assert max(seen) == 5


def test_how_many_at_once_by_what_the_server_tells() -> None:
    ready = {"state": "ready", "max_in_flight": 4}
    assert concurrency_of([ready, ready, {"state": "failed", "max_in_flight": 4}]) == 8
    assert concurrency_of([ready]) == 4
    assert concurrency_of([ready] * 100) == 32
    assert concurrency_of([]) == 8


def _wait(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)
