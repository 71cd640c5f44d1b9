"""From whatever names a model to its facts: a folder, a .gguf file, a config.json, a hub id."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import UsageError
from placement.models import gguf, hub, safetensors
from placement.models.config_json import facts_of
from placement.models.facts import ModelFacts

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w./-]+)?")
_QUANTIZATION_FILE = "hf_quant_config.json"


def load(source: str) -> ModelFacts:
    """Raises UsageError for what names no model, ModelFetchError for what cannot be had."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, path.resolve().name)
    if path.is_file():
        return _file(path)
    if not _HUB_ID.fullmatch(source) or path.suffix in {".gguf", ".json"}:
        raise UsageError(
            f"{source!r} names no model: give a folder with a config.json, a .gguf file, "
            "a config.json, or a hub id (owner/name, owner/name@REVISION)"
        )
    return _from_hub(source)


def _folder(path: Path, name: str) -> ModelFacts:
    if (path / "config.json").is_file():
        config = _json(path / "config.json")
        extra = path / _QUANTIZATION_FILE
        if "quantization_config" not in config and extra.is_file():
            config["quantization_config"] = _json(extra)
        return replace(facts_of(config, name), stored=safetensors.stored_in(path))
    files = sorted(path.glob("*.gguf"))
    if not files:
        raise UsageError(f"{path} holds neither a config.json nor a .gguf file")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise UsageError(f"{path} holds several .gguf files; name one of them: {names}")
    return gguf.facts_of_file(files[0])


def _file(path: Path) -> ModelFacts:
    if path.suffix == ".gguf":
        return gguf.facts_of_file(path)
    if path.suffix == ".json":
        return facts_of(_json(path), path.resolve().parent.name)
    raise UsageError(f"{path} is neither a .gguf file nor a config.json")


def _from_hub(source: str) -> ModelFacts:
    """The cache on this disk first: it needs no network, and is what the engine would load."""
    hub_id, _, at = source.partition("@")
    revision = at or None
    folder = hub.cached_folder(hub_id, revision)
    if folder and safetensors.stored_in(folder):
        return _folder(folder, source)
    config = hub.config_of(hub_id, revision)
    return replace(facts_of(config, source), stored=hub.stored_of(hub_id, revision))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object, so it is no config.json")
    return found
