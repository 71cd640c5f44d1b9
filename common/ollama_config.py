"""Config of models that an Ollama server runs: the section `ollama:`, and keys of its models.

common/config.py takes these in, so they cannot build on it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from common import ollama_host
from common.keep_alive import KeepAliveValue
from common.ollama_names import bare, is_name
from common.section import Section

OllamaUrl = Annotated[str, AfterValidator(ollama_host.parse)]


class OllamaConfig(Section):
    """What holds for every model of engine `ollama` that does not say otherwise."""

    base_url: OllamaUrl | None = Field(
        None, description="Default: what OLLAMA_HOST says, else http://127.0.0.1:11434."
    )
    discover: bool = Field(
        default=False, description="Serve every model that the server has, under its own name."
    )
    keep_alive: KeepAliveValue | None = Field(
        None, description="Default: what the server itself is set to, 5m as a rule."
    )
    pull: bool = Field(
        default=False, description="At the start, fetch the models that the server does not have."
    )


def check_ollama_source(name: str, source: str) -> None:
    """Raises ValueError when it cannot be the name of one of Ollama's models."""
    if not is_name(bare(source)):
        raise ValueError(
            f"models.{name}.source: {source!r} is no name of a model of Ollama; "
            "write it as `ollama list` does, such as llama3.2 or qwen3:8b"
        )
