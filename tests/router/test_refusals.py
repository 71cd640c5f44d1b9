"""Engines' error answers, in the words of each, as failures of the tree."""

from __future__ import annotations

import json

import pytest

from common.errors import (
    ContextTooLongError,
    EngineDeadError,
    EngineError,
    EngineOverloadedError,
    OutOfMemoryError,
)
from router.refusals import failure_of, is_foreign, is_of_the_request, message_in, retry_after_s


def body(message: str, **fields: object) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


TOO_LONG = [
    (400, body("This model's maximum context length is 16 tokens. However, your prompt ...")),
    (400, body("The decoder prompt (length 99) is longer than the maximum model length of 16.")),
    (400, body("Input too large", code="context_length_exceeded")),
    (400, body("request (9 tokens) exceeds the available context size (8 tokens)")),
    (500, body("try increasing the context size", type="exceed_context_size_error")),
    (400, body("prompt is too long: 9 tokens > 8 maximum", type="invalid_request_error")),
    (413, body("prompt is too long: 9 tokens > 8 maximum")),
]


@pytest.mark.parametrize(("status", "said"), TOO_LONG)
def test_a_context_that_is_too_short(status: int, said: bytes) -> None:
    failure = failure_of(status, said, "m-0")
    assert type(failure) is ContextTooLongError
    assert failure.trigger == "context_too_long"


@pytest.mark.parametrize(("_", "said"), TOO_LONG)
def test_engines_words_without_openais_code_are_foreign_to_its_clients(_: int, said: bytes) -> None:
    words = (b"maximum context", b"maximum model", b"exceed_context_size_error")
    assert is_foreign(said) is any(each in said for each in words)


def test_openais_own_error_is_not_foreign() -> None:
    words = "This model's maximum context length is 128000 tokens."
    assert not is_foreign(body(words, code="context_length_exceeded"))


@pytest.mark.parametrize(
    ("status", "said", "kind", "trigger"),
    [
        (500, body("boom"), EngineError, "5xx"),
        (502, b"<html>", EngineError, "5xx"),
        (504, b"", EngineError, "5xx"),
        (429, body("slow down"), EngineOverloadedError, "overloaded"),
        (503, body("loading"), EngineOverloadedError, "overloaded"),
        (529, body("overloaded_error"), EngineOverloadedError, "overloaded"),
        (500, body("CUDA out of memory. Tried to allocate"), OutOfMemoryError, "out_of_memory"),
        (503, body("torch.OutOfMemoryError"), OutOfMemoryError, "out_of_memory"),
        (500, body("EngineCore encountered an issue."), EngineDeadError, "engine_dead"),
    ],
)
def test_an_engines_own_failure(
    status: int, said: bytes, kind: type[EngineError], trigger: str
) -> None:
    failure = failure_of(status, said, "m-0")
    assert type(failure) is kind
    assert failure.trigger == trigger
    assert failure.message.startswith("replica m-0 failed: ")


@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 422, 501])
def test_what_is_the_clients_business(status: int) -> None:
    assert failure_of(status, body("CUDA out of memory, said the prompt"), "m-0") is None


def test_words_far_into_a_body_are_not_searched_for() -> None:
    echoed = body("no such tool: " + "x" * 5000 + " maximum context length is")
    assert failure_of(400, echoed, "m-0") is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (body("boom"), "boom"),
        (b"<html>", "<html>"),
        (b"", "no reason given"),
        (b'{"error":"flat"}', '{"error":"flat"}'),
        (b"[]", "[]"),
    ],
)
def test_the_words_of_an_answer(said: bytes, words: str) -> None:
    assert message_in(said) == words


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"7", 7.0), (b"0", 0.0), (b"0.5", 0.5), (None, None), (b"-1", None), (b"nan", None),
     (b"inf", None), (b"Wed, 21 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


@pytest.mark.parametrize(
    ("message", "is_so"),
    [
        ("image input is not supported - hint: you may need to provide the mmproj", True),
        ("Failed to parse messages: Missing 'role' in message: {}", True),
        ("Failed to parse tools: Expected 'tools' to be an array", True),
        ("tools param requires --jinja flag", True),
        ("Compute error.", False),
    ],
)
def test_a_500_for_what_was_asked(message: str, is_so: bool) -> None:
    """These are llama.cpp's; it still counts as a failure that another model may not have."""
    said = body(message, code=500, type="server_error")
    assert is_of_the_request(said) is is_so
    failure = failure_of(500, said, "m-0")
    assert failure is not None
    assert failure.trigger == "5xx"
