"""A message's content from OpenAI's parts to Anthropic's blocks. No I/O."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)


class Untranslatable(Exception):  # noqa: N818  # it never leaves the gateway as an exception
    """The request says what Anthropic's API has no words for. `str` of it is for the client."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: Anthropic's API cannot be asked for this: {reason}")
        self.param = param


def blocks_of(content: Any, place: str) -> list[Json]:
    """Empty texts are left out: the API refuses them."""
    if content is None:
        return []
    if isinstance(content, str):
        return _text(content)
    if not isinstance(content, list):
        raise Untranslatable(f"{place}.content", "it must be text or parts")
    return [
        block for i, part in enumerate(content) for block in _part(part, f"{place}.content.{i}")
    ]


def text_of(content: Any, place: str) -> str:
    """Of a system message, which holds text only."""
    blocks = blocks_of(content, place)
    if any(block["type"] != "text" for block in blocks):
        raise Untranslatable(f"{place}.content", "a system message holds text only")
    return "\n".join(block["text"] for block in blocks)


def _part(part: Any, place: str) -> list[Json]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return _text(part.get("text"))
    if kind == "refusal":
        return _text(part.get("refusal"))
    if kind == "image_url":
        return [{"type": "image", "source": _image(part.get("image_url"), place)}]
    if kind == "file":
        return [{"type": "document", "source": _file(part.get("file"), place)}]
    raise Untranslatable(place, f"a part of type {kind!r} is not known there")


def _text(text: Any) -> list[Json]:
    return [{"type": "text", "text": text}] if text else []


def _image(image: Any, place: str) -> Json:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise Untranslatable(place, "the image has no URL")
    return _inline(url, place) if url.startswith("data:") else {"type": "url", "url": url}


def _file(file: Any, place: str) -> Json:
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise Untranslatable(place, "a file must come with file_data")
    return _inline(data, place)


def _inline(url: str, place: str) -> Json:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise Untranslatable(place, "a data URL must name its type and hold base64")
    return {"type": "base64", "media_type": found[1], "data": found[2]}
