"""Why an attempt came to nothing, and what that says of the replica."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import (
    ContextTooLongError,
    EngineConnectError,
    EngineDisconnectError,
    EngineError,
    EngineTimeoutError,
    RoundhouseError,
)
from gateway.answer import Answer
from gateway.exchange import Exchange
from router.breaker import Verdict
from router.refusals import failure_of, retry_after_s
from router.replicas import Replica

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
    error = failure_of(answer.status, answer.body, answer.replica.id)
    return None if error is None else Failure(error, answer)


def verdict_of(refused: Failure | None) -> Verdict:
    """Only an engine's own failures count against it, not what it says of a request."""
    if refused is None or isinstance(refused.error, ContextTooLongError):
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
