"""Config of endpoints that somebody else runs: where they are, their keys, what they cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from common.section import Section

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Set by what sends the request; a key belongs into api_key_env or api_key_file.
_OUR_HEADERS = frozenset(
    [
        "authorization",
        "x-api-key",
        "host",
        "content-length",
        "content-type",
        "connection",
        "transfer-encoding",
        "accept-encoding",
    ]
)
REMOTE_ENGINES = frozenset({"openai", "anthropic"})
_URL = re.compile(r"https?://[^\s]+")


@dataclass(frozen=True)
class Preset:
    """A provider that can be named in place of its URL. `prices` is its name in genai-prices."""

    engine: str
    base_url: str
    api_key_env: str
    prices: str | None = None


# URLs, and how a key is sent, as their own documents have them in November 2026. All but Anthropic
# take it as a Bearer token; Anthropic as `x-api-key` (engines/endpoint.py).
#   openai      openai-python 3.54, the client's default base_url
#   zai, glm    docs.z.ai/guides/develop/http/introduction, "General API Endpoint"; subscribers of
#               its coding plan have another (/api/coding/paas/v4): give that URL instead
#   openrouter  the server of its OpenAPI document, openrouter.ai/docs
#   gemini      ai.google.dev/gemini-api/docs/openai
#   anthropic   anthropic-sdk-python 2.12, default base_url with its /v1;
#               platform.claude.com/docs/api/versioning for anthropic-version
PRESETS: dict[str, Preset] = {
    "openai": Preset("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "openai"),
    "zai": Preset("openai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "zai"),
    "glm": Preset("openai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "zai"),
    "openrouter": Preset(
        "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openrouter"
    ),
    "gemini": Preset(
        "openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        "google",
    ),
    "anthropic": Preset(
        "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "anthropic"
    ),
}


class RemoteConfig(Section):
    """`models.NAME.remote`: how requests are made out to an endpoint that runs elsewhere."""

    model: str | None = Field(
        None, min_length=1, description="The model's name there; default: the one that was asked."
    )
    api_key_env: str | None = Field(
        None, min_length=1, description="Environment variable that holds the key."
    )
    api_key_file: Path | None = Field(None, description="File that holds the key and nothing else.")
    headers: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description='Sent with every request; "${env.NAME}" reads the environment.',
    )
    health: bool = Field(
        default=True, description="Ask GET /models whether it is up; false: taken to be."
    )
    max_tokens: Annotated[int, Field(ge=1)] = Field(
        4096, description="For engine anthropic: limit of an answer whose request names none."
    )

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in _OUR_HEADERS:
                raise ValueError(f"{name!r} is set by Roundhouse; keys belong into api_key_env")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of {name!r} holds more than printable ASCII")
        return headers

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_env and self.api_key_file:
            raise ValueError("api_key_env and api_key_file exclude each other")
        return self


class PriceConfig(Section):
    """`models.NAME.price`: US dollars a million tokens, in place of the published price."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


def remote_source_problem(engine: str, sources: tuple[str, ...]) -> str | None:
    """Why these cannot be a remote engine's sources."""
    names = [name for name, preset in PRESETS.items() if preset.engine == engine]
    if sources and all(_URL.fullmatch(source) or source in names for source in sources):
        return None
    return f"must be http(s) URLs for engine {engine}, or of: {', '.join(names)}"
