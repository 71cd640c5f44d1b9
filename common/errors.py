"""The one exception tree, and how each exception looks to a client and to a shell.

RoundhouseError
├── UsageError                 wrong use of the command line (exit code 2)
│   └── ConfigError            a config file, flag or environment variable is wrong
├── StartError                 the box or the config cannot be started (exit code 1)
│   ├── PortInUseError
│   ├── NotEnoughMemoryError
│   ├── ModelFetchError        a model is not there and could not be had
│   └── NotAnsweringError      nobody answers where a Roundhouse should
├── RequestError               the client's request is at fault (4xx)
│   ├── BadRequestError        400
│   ├── UnauthorizedError      401
│   ├── ModelNotFoundError     404
│   ├── RouteNotFoundError     404
│   ├── ConflictError          409: another change is under way
│   ├── BodyTooLargeError      413
│   └── QueueFullError         429, with Retry-After
├── UnavailableError           503, with Retry-After: no replica can take the request now
│   ├── BusyError              ... because all were full for too long
│   └── RestingError           429: a provider asked for a pause that is not over
├── DeadlineError              504: the request's own time is over, whoever was slow
└── EngineError                an engine failed us (502); everything below may be tried elsewhere
    ├── EngineConnectError     nobody listens where the engine should
    ├── EngineDisconnectError  the connection broke
    ├── EngineDeadError        the engine says itself that it cannot go on
    ├── EngineTimeoutError     504: no first byte in time
    ├── EngineOverloadedError  503: the engine has too much to do (its 429 or 503)
    ├── UpstreamAuthError      a provider refuses our own key or account
    ├── ContextTooLongError    400: the request does not fit into the model's context
    ├── NoAnswerPassedError    an ensemble's check holds for none of its answers
    └── EngineLoadError        the engine did not start
        └── OutOfMemoryError   ... for want of memory

`trigger` is the name under which `router.retry.on` and `router.fallback.on` know a failure; a
failure without one is final.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Trigger = Literal[
    "timeout",  # to connect, to the first byte
    "connection",  # nobody listens, or the connection broke
    "out_of_memory",
    "load_failed",  # the model did not load, or none of its replicas is up
    "overloaded",  # 429 or 503, or a full queue
    "5xx",  # an engine's own error
    "context_too_long",
    "engine_dead",  # the engine says so itself
]


class RoundhouseError(Exception):
    """Base of every error that a user may see; `str(error)` is the message."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    src: ClassVar[str] = "router"
    trigger: Trigger | None = None  # one error may be more exact than its class

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class UsageError(RoundhouseError):
    exit_code = 2
    status = 400
    type = "invalid_request_error"


class ConfigError(UsageError):
    code = "config_error"


class StartError(RoundhouseError):
    pass


class PortInUseError(StartError):
    pass


class NotEnoughMemoryError(StartError):
    pass


class ModelFetchError(StartError):
    pass


class NotAnsweringError(StartError):
    pass


class RequestError(RoundhouseError):
    status = 400
    type = "invalid_request_error"


class BadRequestError(RequestError):
    pass


class UnauthorizedError(RequestError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class ModelNotFoundError(RequestError):
    status = 404
    type = "not_found_error"
    code = "model_not_found"


class RouteNotFoundError(RequestError):
    status = 404
    type = "not_found_error"
    code = "route_not_found"


class ConflictError(RequestError):
    status = 409
    code = "conflict"


class BodyTooLargeError(RequestError):
    status = 413
    code = "request_too_large"


class QueueFullError(RequestError):
    status = 429
    type = "rate_limit_error"
    code = "queue_full"
    trigger: Trigger | None = "overloaded"


class UnavailableError(RoundhouseError):
    status = 503
    type = "service_unavailable_error"
    code = "model_unavailable"
    trigger: Trigger | None = "load_failed"


class BusyError(UnavailableError):
    trigger: Trigger | None = "overloaded"


class RestingError(UnavailableError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    trigger: Trigger | None = "overloaded"


class DeadlineError(RoundhouseError):
    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class EngineError(RoundhouseError):
    status = 502
    type = "engine_error"
    code = "engine_failed"
    src = "engine"
    trigger: Trigger | None = "5xx"


class EngineConnectError(EngineError):
    code = "engine_unreachable"
    trigger: Trigger | None = "connection"


class EngineDisconnectError(EngineError):
    code = "engine_disconnected"
    trigger: Trigger | None = "connection"


class EngineDeadError(EngineError):
    code = "engine_dead"
    trigger: Trigger | None = "engine_dead"


class EngineTimeoutError(EngineError):
    status = 504
    type = "timeout_error"
    code = "engine_timeout"
    trigger: Trigger | None = "timeout"


class EngineOverloadedError(EngineError):
    status = 503
    code = "engine_overloaded"
    trigger: Trigger | None = "overloaded"


class UpstreamAuthError(EngineError):
    code = "upstream_auth"


class ContextTooLongError(EngineError):
    status = 400
    type = "invalid_request_error"
    code = "context_length_exceeded"
    trigger: Trigger | None = "context_too_long"


class NoAnswerPassedError(EngineError):
    code = "no_answer_passed"
    trigger: Trigger | None = None


class EngineLoadError(EngineError):
    status = 503
    code = "engine_load_failed"
    trigger: Trigger | None = "load_failed"


class OutOfMemoryError(EngineLoadError):
    code = "out_of_memory"
    trigger: Trigger | None = "out_of_memory"


def error_body(error: RoundhouseError) -> dict[str, Any]:
    """OpenAI's error object, plus `src`: who failed, the router or the engine."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
            "src": error.src,
        }
    }
