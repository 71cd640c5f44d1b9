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
│   ├── BodyTooLargeError      413
│   └── QueueFullError         429, with Retry-After
├── UnavailableError           503, with Retry-After: no replica can take the request now
└── EngineError                an engine failed us (502); everything below may be tried elsewhere
    ├── EngineConnectError     nobody listens where the engine should
    ├── EngineDisconnectError  the connection broke
    ├── EngineDeadError        the engine says itself that it cannot go on
    ├── EngineTimeoutError     504: no first byte in time
    └── EngineLoadError        the engine did not start
        └── OutOfMemoryError   ... for want of memory
"""

from __future__ import annotations

from typing import Any, ClassVar


class RoundhouseError(Exception):
    """Base of every error that a user may see; `str(error)` is the message."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    src: ClassVar[str] = "router"

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


class BodyTooLargeError(RequestError):
    status = 413
    code = "request_too_large"


class QueueFullError(RequestError):
    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class UnavailableError(RoundhouseError):
    status = 503
    type = "service_unavailable_error"
    code = "model_unavailable"


class EngineError(RoundhouseError):
    status = 502
    type = "engine_error"
    code = "engine_failed"
    src = "engine"


class EngineConnectError(EngineError):
    code = "engine_unreachable"


class EngineDisconnectError(EngineError):
    code = "engine_disconnected"


class EngineDeadError(EngineError):
    code = "engine_dead"


class EngineTimeoutError(EngineError):
    status = 504
    type = "timeout_error"
    code = "engine_timeout"


class EngineLoadError(EngineError):
    status = 503
    code = "engine_load_failed"


class OutOfMemoryError(EngineLoadError):
    code = "out_of_memory"


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
