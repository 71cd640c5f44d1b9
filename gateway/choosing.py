"""`model: auto` at the door: what of a request's bytes and headers names its conversation, and the
body made out to the model that was chosen."""

from __future__ import annotations

from typing import Any

import msgspec

from common.errors import BadRequestError
from gateway.keys import Headers
from router.conversations import Marks
from router.fallback import with_model

_SESSION_HEADERS = (b"x-session-id", b"x-claude-code-session-id")


class _Marked(msgspec.Struct):
    """The fields that may name a conversation."""

    user: Any = None
    prompt_cache_key: Any = None
    messages: list[msgspec.Raw] = []


class _Message(msgspec.Struct):
    role: Any = None


_marked = msgspec.json.Decoder(_Marked)
_message = msgspec.json.Decoder(_Message)


def made_out_to(model: str, body: bytes) -> bytes:
    """Raises BadRequestError for a body in which no model can be named, such as a form."""
    named = with_model(body, model)
    if named is None:
        raise BadRequestError(
            "model: auto needs a JSON body; name a model for anything else", param="model"
        )
    return named


def marks_of(headers: Headers, body: bytes) -> Marks:
    """Nothing where the body has another shape than expected."""
    tenant = headers.get(b"authorization") or headers.get(b"x-api-key") or b""
    try:
        fields = _marked.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        fields = _Marked()
    return Marks(
        tenant=tenant.decode("latin-1"),
        session=session_of(headers),
        prompt_cache_key=_text(fields.prompt_cache_key),
        user=_text(fields.user),
        opening=_opening(fields.messages),
    )


def session_of(headers: Headers) -> str | None:
    """The session that a client names in a header."""
    found = next((headers[name] for name in _SESSION_HEADERS if name in headers), b"")
    return found.decode("latin-1") or None


def _opening(messages: list[msgspec.Raw]) -> bytes:
    """The messages up to the first one of the user: they stand in every request that follows."""
    for i, raw in enumerate(messages):
        if _role(raw) == "user":
            return b"".join(bytes(each) for each in messages[: i + 1])
    return b""


def _role(raw: msgspec.Raw) -> Any:
    try:
        return _message.decode(raw).role
    except msgspec.MsgspecError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
