"""What clients see of a Roundhouse with real engines, beside what test_engines_alike.py asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx2 as httpx
import openai
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.classify import classify, default_rules, of_text
from router.classify.second_stage import (
    CHAT_PATH,
    SYSTEMONE_PATH,
    chat_body,
    read_answer,
    systemone_body,
)
from tests.real.serving import KEY, RunningServer

pytestmark = pytest.mark.engine

MODELS = {"smollm2", "smollm2-gguf", "tiny-tp1", "tiny-tp2"}
QUESTION = "What is the capital of France?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(house: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_auto_answers_with_the_model_that_its_route_told(
    client: openai.OpenAI, house: RunningServer
) -> None:
    told = house.post("/v1/route", {"prompt": QUESTION}).json()
    assert told["model"] in MODELS
    assert {each["model"] for each in told["candidates"]} == MODELS
    answer = client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, max_tokens=5
    )
    assert answer.headers["x-roundhouse-task"] == told["task"]
    chat = answer.parse()
    assert chat.model == answer.headers["x-roundhouse-model"] == told["model"]
    assert chat.usage is not None
    assert chat.usage.completion_tokens > 0
    coded = client.chat.completions.create(
        model="auto", messages=MESSAGES, max_tokens=5, extra_body={"routing": {"task": "code"}}
    )
    assert coded.choices[0].message.content is not None


def test_decisions_are_counted(client: openai.OpenAI, house: RunningServer) -> None:
    def counted() -> float:
        return sum(
            sample.value
            for family in text_string_to_metric_families(house.get("/metrics").text)
            for sample in family.samples
            if sample.name == "roundhouse_route_decisions_total"
        )

    before = counted()
    client.chat.completions.create(model="auto:math", messages=MESSAGES, max_tokens=3)
    assert counted() == before + 1


def test_the_command_asks_what_runs(house: RunningServer) -> None:
    done = house.run("route", QUESTION, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["asked"] == house.url
    assert all(each["loaded"] for each in told["candidates"])
    table = json.loads(house.run("route", "--table", "--json").stdout)
    assert {each["model"] for each in table["scores"]} == MODELS


def test_a_second_opinion_by_one_token(house: RunningServer) -> None:
    """What the second stage would ask, put to a real engine: it knows every field, and has no
    /v1/systemone for this model."""
    said = of_text("Grnbl the frobs.")
    verdict = classify(said, default_rules())
    missing = house.post(SYSTEMONE_PATH, json.loads(systemone_body("smollm2", said)))
    assert missing.status_code in {400, 404, 405, 501}
    answer = house.post(CHAT_PATH, json.loads(chat_body("smollm2", said)))
    assert answer.status_code == 200
    assert len(answer.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) >= 20
    told = read_answer(CHAT_PATH, answer.content, verdict)
    assert told is None or told.reason.startswith("a local model's choice")


def test_tokenize_and_back(house: RunningServer) -> None:
    tokens = house.post("/tokenize", {"model": "smollm2", "prompt": QUESTION}).json()
    assert tokens["count"] == len(tokens["tokens"]) > 3
    back = house.post("/detokenize", {"model": "smollm2", "tokens": tokens["tokens"]}).json()
    assert back["prompt"] == QUESTION


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "smollm2", "input": "x"}),
        ("/v1/chat/completions", {"model": "smollm2", "messages": MESSAGES, "temperature": -1}),
        ("/v1/chat/completions", {"model": "smollm2", "messages": MESSAGES, "max_tokens": 9999}),
        ("/v1/chat/completions", {"model": "smollm2", "messages": "x"}),
    ],
)
def test_an_engines_own_error_arrives_untouched(
    house: RunningServer, path: str, body: dict[str, Any]
) -> None:
    engine = house.rows()["smollm2-0"]["url"]
    headers = {"authorization": f"Bearer {house.token}"}
    own = httpx.post(f"{engine}{path}", json=body, headers=headers, timeout=60, trust_env=False)
    answer = house.post(path, body)
    assert 400 <= own.status_code < 500
    assert (answer.status_code, answer.content) == (own.status_code, own.content)


def test_a_prompt_that_is_too_long_goes_to_a_model_with_a_longer_context(
    house: RunningServer,
) -> None:
    said = [{"role": "user", "content": "word " * 700}]
    body = {"model": "tiny-tp1", "messages": said, "max_tokens": 3}
    answer = house.post("/v1/chat/completions", body)
    assert answer.status_code == 200
    assert answer.json()["model"] == answer.headers["x-roundhouse-model"] == "smollm2"
    assert "fallback from tiny-tp1: context_too_long" in answer.headers["x-roundhouse-route"]
    told = house.post("/v1/chat/completions", body | {"messages": said * 4})
    assert told.status_code == 400  # too long for both: the first one's own words
    assert "512" in told.json()["error"]["message"]


@pytest.mark.anyio
async def test_load_is_spread_over_the_replicas(house: RunningServer) -> None:
    body = {"model": "smollm2", "messages": MESSAGES, "max_tokens": 8}
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(asyncio.to_thread(house.post, "/v1/chat/completions", body))
            for _ in range(20)
        ]
    answers = [task.result() for task in asked]
    assert {answer.status_code for answer in answers} == {200}
    served = [answer.headers["x-roundhouse-replica"] for answer in answers]
    # Not ten each: on a busy box the first are answered before the last have come.
    assert min(served.count("smollm2-0"), served.count("smollm2-1")) >= 5


def test_metrics_of_every_replica(house: RunningServer) -> None:
    seen = {
        (sample.labels["model"], sample.labels["replica"])
        for family in text_string_to_metric_families(house.get("/metrics").text)
        for sample in family.samples
        if sample.name == "vllm:num_requests_running"
    }
    rows = {(row["model"], name) for name, row in house.rows().items()}
    assert seen == {row for row in rows if row[0] != "smollm2-gguf"}  # test_llamacpp.py has its
    assert len(seen) == 4


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-wrong"}, {"x-api-key": "x"}])
def test_no_key_no_answer(house: RunningServer, headers: dict[str, str]) -> None:
    for path in ("/v1/models", "/metrics", "/admin/replicas"):
        answer = httpx.get(f"{house.url}{path}", headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_an_engine_is_not_to_be_had_past_the_router(house: RunningServer) -> None:
    for row in house.rows().values():
        for key in ("none", KEY):
            headers = {"authorization": f"Bearer {key}"}
            answer = httpx.get(f"{row['url']}/v1/models", headers=headers, trust_env=False)
            assert answer.status_code == 401, row["id"]


def test_nothing_listens_beyond_this_box_but_for_ray_with_its_token(house: RunningServer) -> None:
    ports: dict[str, list[int]] = {}
    for process in house.processes():
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                address = connection.laddr.ip.removeprefix("::ffff:")
                ports.setdefault(address, []).append(connection.laddr.port)
    on_loopback = ports.pop("127.0.0.1")
    assert house.port in on_loopback
    assert {int(row["url"].rpartition(":")[2]) for row in house.rows().values()} < {*on_loopback}
    # One of Serve's own for each replica.
    assert ports.keys() <= {"::"}
    for port in ports.get("::", []):
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                call(b"", timeout=5)
