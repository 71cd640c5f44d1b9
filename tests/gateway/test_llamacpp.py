"""What the router does otherwise for replicas of llama.cpp."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.config import Config
from common.errors import ContextTooLongError, error_body
from engines.base import ReplicaSpec
from gateway.answer import Answer
from gateway.failure import refusal, verdict_of
from gateway.owned import of_spec
from gateway.upstream import Origin
from router.breaker import Verdict
from router.replicas import Replica
from tests.engines.specs import spec_of

# As llama.cpp's server says it.
TOO_LONG = {
    "code": 400,
    "message": "request (3031 tokens) exceeds the available context size (2048 tokens)",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 3031,
    "n_ctx": 2048,
}


def config(**model: Any) -> Config:
    return Config.model_validate({"models": {"m": {"source": "/m.gguf", **model}}})


@pytest.mark.parametrize(
    ("asked", "slots", "limit"), [(None, 4, 4), (2, 4, 2), (64, 8, 8), (64, None, 64)]
)
def test_no_more_requests_leave_than_there_are_slots(
    asked: int | None, slots: int | None, limit: int
) -> None:
    spec = ReplicaSpec(**spec_of(slots=slots))
    assert of_spec(config(max_in_flight=asked), spec).max_in_flight == limit


def test_a_connection_to_it_is_used_once() -> None:
    assert not of_spec(config(), ReplicaSpec(**spec_of())).keeps_alive
    assert of_spec(config(), ReplicaSpec(**spec_of(engine="vllm"))).keeps_alive


def test_a_prompt_that_is_too_long_is_told_in_openais_words() -> None:
    body = json.dumps({"error": TOO_LONG}).encode()
    origin = Origin.of("http://127.0.0.1:1")
    refused = refusal(Answer(Replica("m-0", "m", 1), 400, [], body, None, origin))
    assert refused is not None
    assert refused.answer is None  # so the error below is what the client gets
    assert isinstance(refused.error, ContextTooLongError)
    told = error_body(refused.error)["error"]
    assert (told["code"], told["src"]) == ("context_length_exceeded", "engine")
    assert told["type"] == "invalid_request_error"
    assert "(3031 tokens) exceeds" in told["message"]
    assert verdict_of(refused) is Verdict.SUCCESS  # the engine is well


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("image input is not supported - hint: you may need the mmproj", Verdict.SUCCESS),
        ("Compute error.", Verdict.FAILURE),
    ],
)
def test_a_500_for_what_was_asked_does_not_count_against_it(message: str, verdict: Verdict) -> None:
    body = json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}).encode()
    origin = Origin.of("http://127.0.0.1:1")
    refused = refusal(Answer(Replica("m-0", "m", 1), 500, [], body, None, origin))
    assert refused is not None
    assert refused.error.trigger == "5xx"  # another model may take it
    assert verdict_of(refused) is verdict
