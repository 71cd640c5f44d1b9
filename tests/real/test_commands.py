"""The other commands beside a running server, and every way in which a server ends."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from gateway.listener import listen
from tests.real.serving import KEY, RunningServer, small, wait_for

pytestmark = pytest.mark.engine

_WARDEN_TIMEOUT_S = 15
_LONG = {"model": "tiny", "prompt": "Once", "max_tokens": 480, "n": 8, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Of the tiny model. The tests are in the order of its life, and the last ones end it."""
    config = {"models": {"tiny": small(tiny)}}
    with RunningServer(config, tmp_path_factory.mktemp("commands")) as server:
        yield server.wait_ready()


def output_of(server: RunningServer, *arguments: str) -> str:
    done = server.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def json_of(server: RunningServer, *arguments: str) -> Any:
    return json.loads(output_of(server, *arguments, "--json"))


def test_ps(server: RunningServer) -> None:
    [row] = json_of(server, "ps")
    assert (row["id"], row["state"], row["restarts"]) == ("tiny-0", "ready", 0)
    head, line = output_of(server, "ps").splitlines()
    assert head.split()[:4] == ["REPLICA", "STATE", "GPU", "PID"]
    assert line.split()[:4] == ["tiny-0", "ready", "-", str(row["pid"])]


def test_list(server: RunningServer) -> None:
    [model] = json_of(server, "list")
    assert (model["id"], model["max_model_len"], model["ready"]) == ("tiny", 512, True)
    _, line = output_of(server, "list", "--port", str(server.port)).splitlines()
    assert line.split() == ["tiny", "-", "512", "yes"]


def test_status(server: RunningServer) -> None:
    told = json_of(server, "status")
    assert (told["url"], told["pid"]) == (f"{server.url}/v1", server.process.pid)
    assert (told["ready"], told["replicas_ready"]) == (True, 1)
    assert f"{server.url}/v1" in output_of(server, "status")
    assert server.run("status", "--port", "1").returncode == 1


def test_logs(server: RunningServer) -> None:
    assert len(output_of(server, "logs", "tiny", "-n", "5").splitlines()) == 5
    assert "Resolved architecture: LlamaForCausalLM" in output_of(server, "logs", "tiny-0")
    assert "there are: router, tiny-0" in server.run("logs", "other").stderr


def test_run_answers_like_the_endpoint(server: RunningServer) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    answer = server.post("/v1/chat/completions", body | {"max_tokens": 8})
    said = answer.json()["choices"][0]["message"]["content"]
    flags = ("--max-tokens", "8", "--temperature", "0")
    assert output_of(server, "run", "tiny", "Hello", *flags) == f"{said}\n"
    assert "no model 'other'" in server.run("run", "other", "Hello").stderr


def test_sigterm_lets_answers_end(server: RunningServer) -> None:
    stream = Listener(server)
    server.process.send_signal(signal.SIGTERM)
    one_token = {"model": "tiny", "prompt": "Once", "max_tokens": 1}
    wait_for(lambda: server.post("/v1/completions", one_token).status_code == 503, 10, "refusal")
    assert stream.is_open, "it ended before the refusal was seen"
    assert server.process.wait(60) == 0
    assert stream.text().count('"finish_reason":"length"') == _LONG["n"]
    assert stream.text().endswith("data: [DONE]\n\n")
    server.wait_gone(_WARDEN_TIMEOUT_S)
    assert not server.instance_file.exists()
    listen("127.0.0.1", server.port).close()


def test_kill_of_the_command_takes_everything_along(server: RunningServer) -> None:
    restarted(server).wait_ready()
    assert len(server.processes()) > 5
    server.kill()
    print(f"everything was gone after {server.wait_gone(_WARDEN_TIMEOUT_S):.1f} s")
    listen("127.0.0.1", server.port).close()
    assert server.run("status").returncode == 1
    assert not server.instance_file.exists()


def test_a_second_interrupt_does_not_wait(server: RunningServer) -> None:
    restarted(server)
    wait_for(server.rows, 60, "router", server.tail)
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(5) == 1
    server.wait_gone(_WARDEN_TIMEOUT_S)


def test_the_end_of_ray_is_the_end_of_the_command(server: RunningServer) -> None:
    restarted(server).wait_ready()
    next(p for p in psutil.Process(server.process.pid).children() if p.name() == "raylet").kill()
    assert server.process.wait(10) == 1
    print(f"everything was gone after {server.wait_gone(_WARDEN_TIMEOUT_S):.1f} s")
    assert "Ray has died" in server.tail(999)


def restarted(server: RunningServer) -> RunningServer:
    """A new process of the same server, on the same port."""
    server.kill()
    server.wait_gone()
    return server.start()


class Listener:
    """Reads a long stream in a thread of its own; exists once the stream has begun."""

    def __init__(self, server: RunningServer) -> None:
        self._parts: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(server.url,))
        self._thread.start()
        wait_for(lambda: self._parts, 10, "first event")

    def _read(self, url: str) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        with (
            httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as http,
            http.stream("POST", "/v1/completions", json=_LONG | {"stream": True}) as answer,
        ):
            self._parts.extend(answer.iter_text())

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive()

    def text(self) -> str:
        self._thread.join(60)
        return "".join(self._parts)
