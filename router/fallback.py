"""Another model for a request that the first could not answer, and the request made out to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import msgspec

from common.errors import RoundhouseError, Trigger
from router.replicas import Lane

_STRING = rb'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(_STRING + rb"|[{}\[\]:,]", re.DOTALL)
_NAMED = re.compile(rb'"model"\s*:\s*(' + _STRING + rb"|null)", re.DOTALL)
_EMPTY = re.compile(rb"\s*\{\s*\}\s*")
_VALUE = re.compile(rb"\s*(" + _STRING + rb"|null)", re.DOTALL)


class _Named(msgspec.Struct):
    model: str | None = None


def next_lanes(
    failed: Lane, failure: RoundhouseError, others: Sequence[Lane], on: Collection[Trigger]
) -> Sequence[Lane]:
    """Those of `others` that may do better, in their order, loaded ones first; none when the
    failure is final."""
    if failure.trigger not in on:
        return ()
    ready = [lane for lane in others if lane.has_ready()]
    ready += [lane for lane in others if lane.can_load]  # which answers, but not at once
    if failure.trigger == "context_too_long":
        return [lane for lane in ready if _is_longer(lane, failed)]
    return ready


def with_model(body: bytes, model: str) -> bytes | None:
    """A JSON body made out to another model; all else stays byte for byte.

    None when it cannot be done: no JSON object, a form, a GET.
    """
    name = msgspec.json.encode(model)
    found = list(islice(_NAMED.finditer(body), 2))
    if len(found) == 1:  # nearly always, and then it need not be asked how deep it lies
        start, end = found[0].span(1)
        changed = body[:start] + name + body[end:]
        if _names(changed, model):
            return changed
    return _with_model_at_top(body, name, model)


def _with_model_at_top(body: bytes, name: bytes, model: str) -> bytes | None:
    spans = list(_model_values(body))
    for start, end in reversed(spans):
        body = body[:start] + name + body[end:]
    if not spans:
        head, brace, rest = body.partition(b"{")
        if not brace or head.strip():
            return None
        comma = b"" if _EMPTY.fullmatch(body) else b","
        body = head + b'{"model":' + name + comma + rest
    return body if _names(body, model) else None


def _is_longer(lane: Lane, than: Lane) -> bool:
    """An unknown length may be long enough."""
    ours, theirs = lane.context_len, than.context_len
    return ours is None or theirs is None or ours > theirs


def _model_values(body: bytes) -> Iterator[tuple[int, int]]:
    """Where the values of the top level's `model` lie; a name may stand twice."""
    depth, previous = 0, b""
    for found in _TOKEN.finditer(body):
        token = found[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        elif token == b":" and depth == 1:
            value = _VALUE.match(body, found.end()) if _is_model(previous) else None
            if value:
                yield value.span(1)
        previous = token


def _is_model(key: bytes) -> bool:
    if b"\\" not in key:
        return key == b'"model"'
    try:
        return bool(msgspec.json.decode(key) == "model")
    except msgspec.DecodeError:
        return False


def _names(body: bytes, model: str) -> bool:
    try:
        return msgspec.json.decode(body, type=_Named).model == model
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
