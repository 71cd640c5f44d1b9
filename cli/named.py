"""Which model an argument means: one of the config by name or alias, or a source as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.config import Config, ModelConfig
from common.errors import UsageError

_OURS = {"vllm", "llamacpp", "mlx"}


@dataclass(frozen=True)
class Named:
    """`model` is its entry in the config, where it has one."""

    name: str
    source: str
    config: Config | None = None
    model: ModelConfig | None = None

    @property
    def engine(self) -> str | None:
        """As the config says; None where the config does not know the model."""
        return self.config.engine_of(self.name) if self.config and self.model else None

    @property
    def is_elsewhere(self) -> bool:
        """To such an engine a source is a name of its own, or a URL."""
        return self.engine is not None and self.engine not in _OURS


def named(text: str, config_path: Path | None) -> Named:
    if config_path is None:
        return Named(text, text)
    from cli.serve import load_config

    config = load_config(config_path, (), None, None)
    for name, model in config.models.items():
        if text == name or text in model.aliases:
            return Named(name, model.sources[0], config, model)
    return Named(text, text, config)


def no_model(text: str) -> UsageError:
    return UsageError(
        f"{text!r} names no model: give a hub id (owner/name, with @revision, with :file.gguf or "
        ":Q4_K_M), a folder or .gguf file, embedded:NAME, or with --config a name of that file"
    )
