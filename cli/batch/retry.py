"""Whether a request is sent again, and after what pause. Pure."""

from __future__ import annotations

_BUSY = frozenset({429, 503, 529})  # "not now": for as long as the request may take
_BROKEN = frozenset({408, 500, 502, 504})  # may be the request's own fault: a few times
_BROKEN_RETRIES = 3
_CUT_OFF_RETRIES = 5  # a restart may cut one request off more than once
_BACKOFF_S = 0.5
_BACKOFF_MAX_S = 10.0


def pause_s(
    status: int | None,
    retries: int,
    roll: float,
    *,
    asked_s: float | None = None,
    is_refused: bool = False,
) -> float | None:
    """None when the answer is final. A `status` of None: the connection broke. `asked_s`: the
    server's Retry-After; `is_refused`: it says that another try is of no use. `roll`: 0 to 1."""
    if is_refused or not _may_help(status, retries):
        return None
    pause = backoff_s(retries, roll)
    return pause if asked_s is None else asked_s + pause


def backoff_s(retries: int, roll: float) -> float:
    """Doubles; the jitter is half of it, so that the crowd of a batch spreads out."""
    whole: float = min(_BACKOFF_S * 2 ** min(retries, 10), _BACKOFF_MAX_S)
    return whole * (0.5 + 0.5 * roll)


def _may_help(status: int | None, retries: int) -> bool:
    if status is None:
        return retries < _CUT_OFF_RETRIES
    return status in _BUSY or (status in _BROKEN and retries < _BROKEN_RETRIES)
