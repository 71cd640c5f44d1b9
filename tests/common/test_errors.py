"""The exception tree: every class of it can be shown to a client and to a shell."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from common import errors
from common.errors import RoundhouseError, error_body

# What a client may rely on: status, type, code, src; and the exit code.
TABLE: dict[str, tuple[int, str, str | None, str, int]] = {
    "RoundhouseError": (500, "server_error", None, "router", 1),
    "UsageError": (400, "invalid_request_error", None, "router", 2),
    "ConfigError": (400, "invalid_request_error", "config_error", "router", 2),
    "StartError": (500, "server_error", None, "router", 1),
    "PortInUseError": (500, "server_error", None, "router", 1),
    "NotEnoughMemoryError": (500, "server_error", None, "router", 1),
    "ModelFetchError": (500, "server_error", None, "router", 1),
    "NotAnsweringError": (500, "server_error", None, "router", 1),
    "RequestError": (400, "invalid_request_error", None, "router", 1),
    "BadRequestError": (400, "invalid_request_error", None, "router", 1),
    "UnauthorizedError": (401, "authentication_error", "invalid_api_key", "router", 1),
    "ModelNotFoundError": (404, "not_found_error", "model_not_found", "router", 1),
    "RouteNotFoundError": (404, "not_found_error", "route_not_found", "router", 1),
    "ConflictError": (409, "invalid_request_error", "conflict", "router", 1),
    "BodyTooLargeError": (413, "invalid_request_error", "request_too_large", "router", 1),
    "QueueFullError": (429, "rate_limit_error", "queue_full", "router", 1),
    "UnavailableError": (503, "service_unavailable_error", "model_unavailable", "router", 1),
    "BusyError": (503, "service_unavailable_error", "model_unavailable", "router", 1),
    "RestingError": (429, "rate_limit_error", "rate_limit_exceeded", "router", 1),
    "DeadlineError": (504, "timeout_error", "deadline_exceeded", "router", 1),
    "EngineError": (502, "engine_error", "engine_failed", "engine", 1),
    "EngineConnectError": (502, "engine_error", "engine_unreachable", "engine", 1),
    "EngineDisconnectError": (502, "engine_error", "engine_disconnected", "engine", 1),
    "EngineDeadError": (502, "engine_error", "engine_dead", "engine", 1),
    "EngineTimeoutError": (504, "timeout_error", "engine_timeout", "engine", 1),
    "EngineOverloadedError": (503, "engine_error", "engine_overloaded", "engine", 1),
    "UpstreamAuthError": (502, "engine_error", "upstream_auth", "engine", 1),
    "NoAnswerPassedError": (502, "engine_error", "no_answer_passed", "engine", 1),
    "ContextTooLongError": (400, "invalid_request_error", "context_length_exceeded", "engine", 1),
    "EngineLoadError": (503, "engine_error", "engine_load_failed", "engine", 1),
    "OutOfMemoryError": (503, "engine_error", "out_of_memory", "engine", 1),
}


def tree(root: type[RoundhouseError] = RoundhouseError) -> Iterator[type[RoundhouseError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def test_the_table_knows_every_class() -> None:
    assert {each.__name__ for each in tree()} == set(TABLE)


@pytest.mark.parametrize("kind", list(tree()), ids=lambda kind: kind.__name__)
def test_every_class_has_status_type_code_and_exit_code(kind: type[RoundhouseError]) -> None:
    found = (kind.status, kind.type, kind.code, kind.src, kind.exit_code)
    assert found == TABLE[kind.__name__]


@pytest.mark.parametrize("kind", list(tree()), ids=lambda kind: kind.__name__)
def test_the_body_is_openais_with_a_source(kind: type[RoundhouseError]) -> None:
    error = kind("it went wrong", param="model", retry_after_s=3)
    assert error_body(error) == {
        "error": {
            "message": "it went wrong",
            "type": kind.type,
            "param": "model",
            "code": kind.code,
            "src": kind.src,
        }
    }
    assert (str(error), error.retry_after_s) == ("it went wrong", 3)


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│ ]*(?:[├└]── )?)([A-Z]\w+Error)\b", line)
        if found:
            drawn.append((len(found[1]) // 4, found[2]))

    def depth(kind: type[RoundhouseError]) -> int:
        return len([each for each in kind.__mro__ if issubclass(each, RoundhouseError)]) - 1

    assert drawn == [(depth(kind), kind.__name__) for kind in tree()]
