"""Why an attempt came to nothing, and what that says of the replica."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import (
    ContextTooLongError,
    EngineConnectError,
    EngineDisconnectError,
    EngineError,
    EngineOverloadedError,
    EngineTimeoutError,
    RoundhouseError,
    UpstreamAuthError,
)
from gateway.answer import Answer
from gateway.exchange import Exchange
from router.breaker import Verdict
from router.refusals import failure_of, is_foreign, is_of_the_request, retry_after_s
from router.replicas import Replica

_KEY_REFUSED = frozenset({401, 402, 403})  # 402: the account has run dry
_BUSY = 529  # like a 429: it says nothing of the replica's health


@dataclass(slots=True)
class Failure:
    """An engine's own error answer is kept: it is passed on when nobody does better."""

    error: RoundhouseError
    answer: Answer | None = None

    @property
    def reason(self) -> str:
        return str(self.answer.status) if self.answer else self.error.code or "error"

    @property
    def asked_pause_s(self) -> float | None:
        headers = dict(self.answer.headers) if self.answer else {}
        return retry_after_s(headers.get(b"retry-after"))


def refusal(answer: Answer) -> Failure | None:
    """The failure that an answer tells of; None when it is an answer for the client."""
    if answer.status < 400:
        return None
    if answer.replica.endpoint is not None and answer.status in _KEY_REFUSED:
        return Failure(_refused_us(answer))
    error = failure_of(answer.status, answer.body, answer.replica.id)
    if error is None:
        return None
    # Words that only this engine uses are not passed on: clients read OpenAI's code.
    return Failure(error, None if is_foreign(answer.body) else answer)


def _refused_us(answer: Answer) -> UpstreamAuthError:
    """Our key is at fault, not the client's. The provider's own words may quote the key."""
    endpoint = answer.replica.endpoint
    assert endpoint is not None
    key = f"key (of {endpoint.key_place})" if endpoint.key else "request without a key"
    return UpstreamAuthError(
        f"the provider of model {answer.replica.model!r} refused Roundhouse's own {key} "
        f"with HTTP {answer.status}"
    )


def rest_s(refused: Failure | None, replica: Replica) -> float | None:
    """How long a provider asks to be left alone."""
    if refused is None or replica.endpoint is None:
        return None
    return refused.asked_pause_s if isinstance(refused.error, EngineOverloadedError) else None


def verdict_of(refused: Failure | None) -> Verdict:
    """Only an engine's own failures count against it, not what it says of a request."""
    if refused is None or isinstance(refused.error, ContextTooLongError):
        return Verdict.SUCCESS
    if refused.answer and is_of_the_request(refused.answer.body):
        return Verdict.SUCCESS
    status = refused.answer.status if refused.answer else 500
    return Verdict.NEITHER if status < 500 or status == _BUSY else Verdict.FAILURE


def of_replica(error: EngineError, replica: Replica) -> EngineError:
    """The same failure, with the name of who failed."""
    if isinstance(error, EngineConnectError):
        return EngineConnectError(f"replica {replica.id} cannot be reached: {error.message}")
    if isinstance(error, EngineDisconnectError):
        return EngineDisconnectError(f"replica {replica.id} broke off its answer: {error.message}")
    return error


def late(
    exchange: Exchange, first_token_timeout_s: float, stall_timeout_s: float
) -> EngineTimeoutError:
    if exchange.begun:
        return EngineTimeoutError(
            f"replica {exchange.replica.id} was silent for {stall_timeout_s:g} s "
            "within its answer (defaults.stall_timeout)"
        )
    return EngineTimeoutError(
        f"replica {exchange.replica.id} sent no first byte within {first_token_timeout_s:g} s "
        "(defaults.first_token_timeout)"
    )
