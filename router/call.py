"""What a policy may know of a request: the hashes of its prompt's blocks, its size, its session.

The prompt is taken apart as bytes, not tokens: what counts is only that prompts which begin alike
have blocks that begin alike, in the order in which engines render them (tools, system, messages).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

BLOCK_BYTES: Final = 256
BYTES_PER_TOKEN: Final = 4  # about, for English; a Korean letter is 3 bytes and 0.6 to 1 token
TOKENS_PER_BLOCK: Final = BLOCK_BYTES // BYTES_PER_TOKEN
# Prompts that agree so far (about 64k tokens) belong to one replica whatever follows.
MAX_HASHED_BYTES: Final = 256 << 10

_PATHS = frozenset(["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
# Marks for the API rather than for the model: they change or go between two turns.
_NOT_RENDERED = frozenset(["type", "cache_control", "status", "annotations", "logprobs"])
_ENDS_CHARS = 512


@dataclass(frozen=True, slots=True)
class Call:
    """`blocks` holds a hash for each whole block of the prompt, made of it and all before it.

    Empty where nothing is known. `n_tokens` is the prompt's size, estimated from its bytes.
    """

    blocks: tuple[int, ...] = ()
    n_tokens: int = 0
    session: str | None = None


NO_CALL: Final = Call()


class _Body(msgspec.Struct):
    """The fields that end up in a prompt, in the four APIs, and those that name a session."""

    cache_salt: Any = None
    tools: msgspec.Raw = msgspec.Raw()
    system: Any = None
    instructions: Any = None
    messages: Any = None
    input: Any = None
    prompt: Any = None
    prompt_cache_key: Any = None
    user: Any = None
    metadata: Any = None


_decoder = msgspec.json.Decoder(_Body)


def blocks_of(body: bytes, path: str) -> tuple[int, ...]:
    """The prompt's blocks; none for a body that is no prompt, or shorter than a block."""
    return call_of(body, path).blocks


def call_of(body: bytes, path: str, session: str | None = None) -> Call:
    """Never raises: a body that cannot be read is the engine's to refuse.

    `session` is what a header said; without it the body's own fields are asked.
    """
    if path not in _PATHS:
        return Call(session=session) if session else NO_CALL
    try:
        read = _decoder.decode(body)
        text, n_chars = _rendered(read)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Call(session=session)
    data = text.encode("utf-8", "surrogatepass")
    n_bytes = len(data) * n_chars // max(1, len(text))
    hashed = _hashes(data[:MAX_HASHED_BYTES])
    return Call(hashed, n_bytes // BYTES_PER_TOKEN, session or _session(read))


def _rendered(body: _Body) -> tuple[str, int]:
    """The prompt's text as far as it is hashed, and how many characters the whole of it has."""
    pieces: list[str] = []
    _collect(body.cache_salt, pieces)
    if body.tools:
        pieces.append(bytes(body.tools).decode())
    for part in (body.system, body.instructions, body.messages, body.input):
        _collect(part, pieces)
    _collect(_first_prompt(body.prompt), pieces)
    text = "\0".join(pieces)
    return text[:MAX_HASHED_BYTES], len(text)


def _collect(value: Any, pieces: list[str]) -> None:
    """Every string within, in order. What encodes an image or sound is stood for by its ends."""
    if isinstance(value, str):
        pieces.append(_ends(value) if value.startswith("data:") else value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "data" and isinstance(inner, str):
                pieces.append(_ends(inner))
            elif key not in _NOT_RENDERED:
                _collect(inner, pieces)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, pieces)
    elif value is not None:
        pieces.append(str(value))


def _ends(encoded: str) -> str:
    if len(encoded) <= 2 * _ENDS_CHARS:
        return encoded
    return f"{len(encoded)}:{encoded[:_ENDS_CHARS]}{encoded[-_ENDS_CHARS:]}"


def _first_prompt(prompt: Any) -> Any:
    """Of several prompts in one request the first, which is as good as any."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        return prompt[0]
    return prompt


def _hashes(data: bytes) -> tuple[int, ...]:
    # Python's own, a fifth of the time of a digest: no other process sees them.
    before, hashes = 0, []
    for end in range(BLOCK_BYTES, len(data) + 1, BLOCK_BYTES):
        before = hash((before, data[end - BLOCK_BYTES : end]))
        hashes.append(before)
    return tuple(hashes)


def _session(body: _Body) -> str | None:
    """What clients use to say which calls belong together; OpenAI's keys, then Anthropic's."""
    metadata = body.metadata if isinstance(body.metadata, dict) else {}
    for named in (body.prompt_cache_key, body.user, metadata.get("user_id")):
        if isinstance(named, str) and named:
            return named
    return None
