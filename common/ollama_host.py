"""Where Ollama's server listens, by the config or by Ollama's own variable."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

VARIABLE = "OLLAMA_HOST"
DEFAULT = "http://127.0.0.1:11434"
_PORT = 11434
_PORTS = {"http": 80, "https": 443}  # where a scheme is written out, as Ollama has it
_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  # what a server listens on, no one's address


def base_url(given: str | None, environ: Mapping[str, str]) -> str:
    """`given` wins over OLLAMA_HOST, and that over the default. Raises ValueError."""
    if given is not None:
        return parse(given)
    return parse(environ.get(VARIABLE, "").strip().strip("\"'") or DEFAULT)


def parse(text: str) -> str:
    """A URL from what OLLAMA_HOST may hold: `host`, `host:port`, `:port`, or a URL."""
    has_scheme = "://" in text
    parts = urlsplit(text if has_scheme else f"http://{_bracketed(text)}")
    if parts.scheme not in _PORTS or parts.username or parts.query:
        raise ValueError(_wrong(text))
    try:
        port = parts.port or (_PORTS[parts.scheme] if has_scheme else _PORT)
    except ValueError:
        raise ValueError(_wrong(text)) from None
    host = parts.hostname or ""
    if host in _ANY_ADDRESS:
        host = "127.0.0.1"
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{_bracketed(host)}:{port}{path}"


def _bracketed(host: str) -> str:
    """An IPv6 address alone has more colons than a host and its port."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def _wrong(text: str) -> str:
    return f"{text!r} is no address of an Ollama server; write one like {DEFAULT}"
