"""API keys: who may call. Only digests are kept, and comparing them takes constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from common.errors import UnauthorizedError

Headers = Mapping[bytes, bytes]


class Keys:
    """Accepted keys. Without any, everything is let in (config allows that on loopback only)."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def check(self, headers: Headers) -> None:
        """Raises UnauthorizedError unless `Authorization: Bearer` or `x-api-key` holds a key."""
        if not self._digests:
            return
        given = _given_key(headers)
        if given is None:
            raise UnauthorizedError(
                "no API key: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
            )
        digest = _digest(given)
        # Every digest is compared, so that the time says nothing about which one came close.
        if not any([hmac.compare_digest(digest, known) for known in self._digests]):  # noqa: C419
            raise UnauthorizedError("the API key is not known here")


def _given_key(headers: Headers) -> bytes | None:
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip()
    key = headers.get(b"x-api-key")
    return None if key is None else key.strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
