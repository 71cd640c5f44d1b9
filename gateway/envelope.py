"""The few fields of a request that the gateway reads; the body itself stays bytes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from common.errors import BadRequestError
from common.keep_alive import KeepAlive, parse


class Envelope(msgspec.Struct):
    """What routing needs of a JSON body; every other field is skipped unread."""

    model: str | None = None
    stream: bool | None = None
    routing: Any = None
    plugins: Any = None
    keep_alive: Any = None

    def wished_keep_alive(self) -> KeepAlive | None:
        """As in Ollama's API, or of `routing`. Raises BadRequestError."""
        told = self.keep_alive
        if told is None and isinstance(self.routing, dict):
            told = self.routing.get("keep_alive")
        if told is None:
            return None
        try:
            return parse(told)
        except ValueError as error:
            raise BadRequestError(str(error), param="keep_alive") from None


_decoder = msgspec.json.Decoder(Envelope)


def read_envelope(body: bytes, content_type: bytes, query: bytes) -> Envelope:
    """The envelope of a JSON body, of a form (audio uploads), or of a query string.

    Raises BadRequestError when the body is not what its content type says.
    """
    if content_type[:19].lower() == b"multipart/form-data":
        return Envelope(model=_form_field(body, content_type, b"model"))
    if body:
        return _from_json(body)
    names = parse_qs(query.decode("latin-1")).get("model")
    return Envelope(model=names[0] if names else None)


def _from_json(body: bytes) -> Envelope:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"request body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"request body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequestError("request body is nested too deep") from None


def _form_field(body: bytes, content_type: bytes, wanted: bytes) -> str | None:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import FormParser, parse_options_header

    _, options = parse_options_header(content_type)
    found: list[str] = []

    def on_field(field: object) -> None:
        if getattr(field, "field_name", None) == wanted:
            found.append((getattr(field, "value", None) or b"").decode(errors="replace"))

    try:
        parser = FormParser(
            "multipart/form-data", on_field, lambda file: None, boundary=options[b"boundary"]
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, KeyError) as error:
        raise BadRequestError(f"request body is not a valid form: {error}") from None
    return found[0] if found else None
