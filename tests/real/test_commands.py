"""What is served out of the box, the other commands beside it, and every way in which it ends."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import openai
import psutil
import pytest
import yaml

from gateway.listener import listen
from tests.real.serving import CHECKOUT, KEY, RunningServer, wait_for

pytestmark = pytest.mark.engine

_WARDEN_TIMEOUT_S = 15
# For the tests that end a server: its engine is ready in seconds.
QUICK = {"quick": {"source": "embedded:smollm2-gguf", "max_model_len": 1024}}
_LONG = {"model": "quick", "prompt": "Once", "max_tokens": 300, "n": 2, "ignore_eos": True}
_HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Of configs/cpu.yaml. The tests are in the order of its life, and the last ones end it."""
    models = yaml.safe_load((CHECKOUT / "configs" / "cpu.yaml").read_text())["models"]
    with RunningServer({"models": models}, tmp_path_factory.mktemp("commands")) as server:
        yield server.wait_ready()


def output_of(server: RunningServer, *arguments: str) -> str:
    done = server.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def json_of(server: RunningServer, *arguments: str) -> Any:
    return json.loads(output_of(server, *arguments, "--json"))


@pytest.mark.parametrize("task", ["auto", "auto:code"])
def test_auto_is_answered_out_of_the_box(server: RunningServer, task: str) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.with_raw_response.create(
            model=task, messages=_HELLO, max_tokens=8
        )
        listed = {model.id for model in client.models.list()}
    chat = answer.parse()
    assert chat.choices[0].message.content
    assert chat.model == answer.headers["x-roundhouse-model"]
    assert {"smollm2", "smollm2-gguf", "auto", chat.model} <= listed
    told = server.post("/v1/route", {"messages": _HELLO}).json()
    assert {each["model"] for each in told["candidates"]} == {"smollm2", "smollm2-gguf"}


def test_ps(server: RunningServer) -> None:
    rows = json_of(server, "ps")
    assert [(row["id"], row["state"], row["restarts"]) for row in rows] == [
        ("smollm2-0", "ready", 0),
        ("smollm2-gguf-0", "ready", 0),
    ]
    head, *lines = output_of(server, "ps").splitlines()
    assert head.split()[:4] == ["REPLICA", "STATE", "GPU", "PID"]
    for line, row in zip(lines, rows, strict=True):
        assert line.split()[:4] == [row["id"], "ready", "-", str(row["pid"])]


def test_list(server: RunningServer) -> None:
    rows = json_of(server, "list")
    assert [(row["id"], row["max_model_len"], row["ready"]) for row in rows] == [
        ("smollm2", 8192, True),
        ("smollm2-gguf", 8192, True),
    ]
    _, *lines = output_of(server, "list", "--port", str(server.port)).splitlines()
    assert [line.split() for line in lines] == [
        ["smollm2", "-", "8192", "yes"],
        ["smollm2-gguf", "-", "8192", "yes"],
    ]


def test_status(server: RunningServer) -> None:
    told = json_of(server, "status")
    assert (told["url"], told["pid"]) == (f"{server.url}/v1", server.process.pid)
    assert (told["ready"], told["replicas_ready"]) == (True, 2)
    assert f"{server.url}/v1" in output_of(server, "status")
    assert server.run("status", "--port", "1").returncode == 1


def test_logs(server: RunningServer) -> None:
    assert len(output_of(server, "logs", "smollm2", "-n", "5").splitlines()) == 5
    assert "Resolved architecture: LlamaForCausalLM" in output_of(
        server, "logs", "smollm2-0", "-n", "999"
    )
    assert "slot" in output_of(server, "logs", "smollm2-gguf-0")
    assert "there are: router, smollm2-0, smollm2-gguf-0" in server.run("logs", "other").stderr


@pytest.mark.parametrize("model", ["smollm2", "smollm2-gguf", "embedded:smollm2-gguf"])
def test_run_answers_like_the_endpoint(server: RunningServer, model: str) -> None:
    name = model.removeprefix("embedded:")
    body = {"model": name, "messages": _HELLO, "temperature": 0, "max_tokens": 8}
    answer = server.post("/v1/chat/completions", body)
    said = answer.json()["choices"][0]["message"]["content"]
    flags = ("--max-tokens", "8", "--temperature", "0")
    assert output_of(server, "run", model, "Hello", *flags) == f"{said}\n"
    assert "no model 'other'" in server.run("run", "other", "Hello").stderr


def test_kill_of_the_command_takes_everything_along(server: RunningServer) -> None:
    assert len(server.processes()) > 5
    server.kill()
    print(f"everything was gone after {server.wait_gone(_WARDEN_TIMEOUT_S):.1f} s")
    listen("127.0.0.1", server.port).close()
    assert server.run("status").returncode == 1
    assert not server.instance_file.exists()


def test_sigterm_lets_answers_end(server: RunningServer) -> None:
    serve_from_now_on(server, QUICK)
    restarted(server).wait_ready()
    stream = Listener(server)
    server.process.send_signal(signal.SIGTERM)
    one_token = {"model": "quick", "prompt": "Once", "max_tokens": 1}
    wait_for(lambda: server.post("/v1/completions", one_token).status_code == 503, 10, "refusal")
    assert stream.is_open, "it ended before the refusal was seen"
    assert server.process.wait(60) == 0
    assert stream.text().count('"finish_reason":"length"') == _LONG["n"]
    assert stream.text().endswith("data: [DONE]\n\n")
    server.wait_gone(_WARDEN_TIMEOUT_S)
    assert not server.instance_file.exists()
    listen("127.0.0.1", server.port).close()


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


def serve_from_now_on(server: RunningServer, models: dict[str, Any]) -> None:
    config = yaml.safe_load(server.file.read_text())
    server.file.write_text(yaml.safe_dump(config | {"models": models}))


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
