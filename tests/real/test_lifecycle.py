"""More models than memory, for real: two of llama.cpp's on a box that is told to have room for one.

What is counted is what the plan expects them to take, so a box of less memory is all that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import psutil
import pytest
import yaml

from engines import gguf_sources
from tests.real.serving import RunningServer, wait_for

pytestmark = pytest.mark.engine

ROOM_MIB = 2600  # one takes 1,676 by plan
_LOAD_TIMEOUT_S = 120
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("two")
    whole = gguf_sources.resolve("one", "embedded:smollm2-gguf", print)
    broken = folder / "broken.gguf"
    with whole.open("rb") as file:
        broken.write_bytes(file.read(8 << 20))  # all of its header, some of its weights
    small = {
        "source": "embedded:smollm2-gguf",
        "max_model_len": 1024,
        "engine_args": {"n_parallel": 2},
    }
    models = {"one": small, "two": small, "broken": {**small, "source": str(broken)}}
    models["broken"]["load"] = "on_demand"
    config = {"models": models, "lifecycle": {"max_wait": "5s"}}
    with RunningServer(
        config,
        folder,
        module="tests.fakes.small_box",
        variables={"SMALL_BOX_MIB": str(ROOM_MIB)},
    ) as server:
        yield server.wait_ready(_LOAD_TIMEOUT_S)


def ask(server: RunningServer, model: str) -> Any:
    body = {"model": model, "messages": QUESTION, "max_tokens": 4, "temperature": 0}
    answer = server.post("/v1/chat/completions", body, timeout=_LOAD_TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def lives(server: RunningServer) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in server.get("/admin/models").json()["models"]}


def states(server: RunningServer) -> dict[str, str]:
    return {name: row["state"] for name, row in lives(server).items()}


def engines(server: RunningServer) -> list[psutil.Process]:
    return [p for p in server.processes() if "engines.llamacpp_server" in p.cmdline()]


def test_the_start_says_who_takes_turns(two: RunningServer) -> None:
    assert "plan: two is loaded on demand, in place of one" in two.tail(50)
    loaded = {"one": "ready", "two": "cold", "broken": "cold"}
    wait_for(lambda: states(two) == loaded, 30, "end of the warm-up", two.tail)
    assert two.get("/ready").status_code == 200
    assert len(engines(two)) == 1


def test_requests_to_both_are_answered_though_one_fits(two: RunningServer) -> None:
    said = {}
    for model in ("two", "one", "two"):
        answer = ask(two, model)
        assert answer["model"] == model
        said[model] = answer["choices"][0]["message"]["content"]
        assert len(engines(two)) == 1, "the other's process has gone"
    assert said["one"] == said["two"], "they are the same weights"
    assert 'roundhouse_model_evictions_total{model="one"}' in two.get("/metrics").text
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda name: ask(two, name)["model"], ["one", "two"] * 4))
    assert names == ["one", "two"] * 4
    assert {row["restarts"] for row in two.rows().values()} == {0}


def test_load_and_unload_by_the_command_line(two: RunningServer) -> None:
    """And the memory is given back: no process is left."""
    done = two.run("load", "one", "--wait", "--json", timeout_s=_LOAD_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["state"], row["until"]) == ("ready", "forever")
    # The planned amount is an upper bound; a process that holds nothing would be a wrong figure.
    assert row["real_bytes"]["ram"] > 100 << 20
    assert states(two) == {"one": "ready", "two": "cold", "broken": "cold"}
    shown = two.run("ps").stdout
    assert "loaded, for ever" in shown
    (engine,) = engines(two)

    done = two.run("unload", "one", "--wait", timeout_s=_LOAD_TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, "one: cold\n")
    assert not engine.is_running()
    assert engines(two) == []
    assert [row["held_bytes"] for row in lives(two).values()] == [{}, {}, {}]
    assert "cold" in two.run("ps").stdout

    unknown = two.run("load", "onne")
    assert unknown.returncode == 2
    assert "did you mean 'one'" in unknown.stderr
    assert ask(two, "two")["model"] == "two"


def test_a_model_that_does_not_load_is_told_and_the_others_still_are(two: RunningServer) -> None:
    answer = two.post("/v1/completions", {"model": "broken", "prompt": "Hi"}, timeout=120)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    row = lives(two)["broken"]
    assert row["state"] == "failed"
    assert row["error"]
    assert row["error"] in answer.json()["error"]["message"]
    assert "broken-0" in two.run("ps").stdout
    failed = two.run("load", "broken", "--wait")
    assert failed.returncode == 1
    assert row["error"] in failed.stderr
    assert (
        f"model broken: loading -> failed: other: {row['error']}"
        in two.run("logs", "router").stdout
    )
    assert ask(two, "one")["model"] == "one"


def test_another_config_without_a_restart(two: RunningServer) -> None:
    """A third name for the same weights comes and goes; the loaded one does not notice."""
    assert ask(two, "one")["model"] == "one"
    (engine,) = engines(two)
    before = yaml.safe_load(two.file.read_text())
    models = before["models"]
    third = {**before, "models": {**models, "again": {**models["two"], "load": "on_demand"}}}
    two.file.write_text(yaml.safe_dump(third))
    dry = two.run("config", "apply", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    told = json.loads(dry.stdout)
    assert (told["applied"], told["added"]) == (False, ["again"])
    assert "again" not in states(two)

    done = two.run("config", "apply")
    assert done.returncode == 0, done.stderr
    assert "again is loaded on demand, in place of" in done.stderr
    assert (states(two)["one"], states(two)["again"]) == ("ready", "cold")
    assert [each.pid for each in engines(two)] == [engine.pid]
    assert ask(two, "again")["model"] == "again"
    assert ask(two, "one")["model"] == "one"
    (engine,) = engines(two)

    named = {**before, "models": {**models, "one": {**models["one"], "aliases": ["uno"]}}}
    two.file.write_text(yaml.safe_dump(named))
    assert two.run("config", "apply").returncode == 0
    gone = two.post("/v1/completions", {"model": "again", "prompt": "Hi"})
    assert gone.status_code == 404
    assert [each.pid for each in engines(two)] == [engine.pid]
    assert ask(two, "uno")["model"] == "one"

    two.file.write_text(yaml.safe_dump({**named, "server": {"port": two.port, "api_keys": ["x"]}}))
    wrong = two.run("config", "apply")
    assert (wrong.returncode, "at least 8 characters" in wrong.stderr) == (2, True)
    fixed = {**named, "server": {**before["server"], "max_queued": 7}}
    two.file.write_text(yaml.safe_dump(fixed))
    refused = two.run("config", "apply")
    assert (refused.returncode, "needs a restart: server.max_queued" in refused.stderr) == (2, True)
    two.file.write_text(yaml.safe_dump(named))


def test_the_next_router_takes_over_what_was_loaded_on_demand(two: RunningServer) -> None:
    assert ask(two, "two")["model"] == "two"
    (engine,) = engines(two)
    title = "ray::ServeReplica:router"
    next(p for p in two.processes() if " ".join(p.cmdline()).startswith(title)).kill()
    body = {"model": "two", "prompt": "One, two,", "max_tokens": 1}

    def answers() -> bool:
        try:
            return two.post("/v1/completions", body).status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(answers, _LOAD_TIMEOUT_S, "answer of the next router", two.tail)
    assert [each.pid for each in engines(two)] == [engine.pid], "it was not loaded again"
    assert states(two) == {"one": "cold", "two": "ready", "broken": "cold"}
    assert two.get("/ready").status_code == 200
    assert ask(two, "uno")["model"] == "one", "by the config that was applied last"


def test_each_transition_is_in_the_log(two: RunningServer) -> None:
    said = two.run("logs", "router", "--lines", "500").stdout
    assert "model one: ready -> draining: room for two" in said
    assert "model two: loading -> ready: load took" in said
