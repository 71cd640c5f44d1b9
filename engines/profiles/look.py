"""Reads a model's files on this disk: config.json, chat template, card, or a GGUF file's header.

Nothing here asks the network, and nothing fails: a file that cannot be read tells nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import RoundhouseError
from engines.profiles import card
from engines.profiles.file_types import FILE_TYPES
from engines.profiles.found import Found, found
from placement.footprint import kv
from placement.footprint.settings import Settings
from placement.footprint.weights import active_params, params, tensor_bytes
from placement.models import gguf, load
from placement.models.facts import Experts, ModelFacts
from placement.models.gguf_types import BLOCKS

# Where configs describe what reads images, video and sound.
_MODALITIES: dict[str, tuple[str, ...]] = {
    "image": ("vision_config", "vision_tower", "mm_vision_tower", "img_processor", "visual"),
    "video": ("video_token_id", "video_token_index", "video_config"),
    "audio": ("audio_config", "audio_processor", "speech_config"),
}
_UNKNOWN_ARCHITECTURE = "is not a known architecture"
_TOOLS = re.compile(r"\btools\b")


def look(path: Path) -> Found:
    """What a folder or a GGUF file tells; empty where it is neither."""
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if not (path / "config.json").is_file() and len(files) == 1:
            return look(files[0])
        return _folder(path)
    if path.suffix == ".gguf" and path.is_file():
        return _gguf(path).over(of_card(_text(path.parent / "README.md")))
    return Found()


def of_card(text: str) -> Found:
    known = card.read(text)
    return found(
        "README.md",
        license=known.license,
        languages=known.languages,
        base_model=known.base_model,
    )


def _folder(folder: Path) -> Found:
    config = _json(folder / "config.json")
    if not config:
        return Found()
    return (
        of_template(_template(folder))
        .over(of_facts(_facts(folder), config, _form(folder)))
        .over(of_card(_text(folder / "README.md")))
    )


def of_facts(facts: ModelFacts | None, config: Mapping[str, Any], form: str | None) -> Found:
    """What config.json tells, as placement reads it; of weights only those that are there."""
    names = config.get("architectures")
    kind = str(names[0]) if isinstance(names, list) and names else config.get("model_type")
    basics = found("config.json", architecture=kind).over(found("files", format=form))
    if facts is None:
        return basics.over(found("config.json", modalities=_modalities(config, known=False)))
    known = not any(_UNKNOWN_ARCHITECTURE in note for note in facts.notes)
    quantization = facts.quantization
    return basics.over(
        found(
            "config.json",
            params=params(facts),
            active_params=_active(facts),
            quantization=quantization.method if quantization else facts.dtype,
            bits_per_weight=round(quantization.bits, 2) if quantization else None,
            max_model_len=facts.max_position_embeddings,
            modalities=_modalities(config, known=known),
        )
    ).over(sizes(facts))


def sizes(facts: ModelFacts) -> Found:
    """Weights, and the KV cache of one request that fills the context."""
    settings = Settings(max_model_len=facts.max_position_embeddings)
    if facts.stored:
        weights = found("headers of the weight files", weights_bytes=facts.stored.total_bytes)
    else:
        weights = found("config.json", weights_bytes=sum(tensor_bytes(facts, settings)))
    request = kv.needed_bytes(facts, settings)
    return weights.over(found("config.json", kv_bytes_per_request=request or None))


def of_template(text: str | None) -> Found:
    """Tools are known to a template that speaks of them."""
    if text is None:
        return Found()
    return found("chat template", chat_template=True, tools=bool(_TOOLS.search(text)))


def _gguf(file: Path) -> Found:
    try:
        header = gguf.read(file)
    except (RoundhouseError, OSError, ValueError):
        return Found()
    told, kind = header.metadata, header.metadata.get("general.architecture")
    named = found(
        "GGUF metadata",
        format="gguf",
        architecture=kind,
        params=sum(tensor.elements for tensor in header.tensors.values()) or None,
        quantization=FILE_TYPES.get(told.get("general.file_type", -1)) or _commonest(header),
        max_model_len=told.get(f"{kind}.context_length"),
        license=told.get("general.license"),
    )
    # What reads images lies in a file of its own, which no engine here loads.
    takes = found("GGUF file", modalities=("text",))
    template = of_template(told.get("tokenizer.chat_template"))
    return template.over(named).over(takes).over(_sizes_of_gguf(file, header))


def _sizes_of_gguf(file: Path, header: gguf.Header) -> Found:
    """Of an architecture that placement does not know only the weights are told."""
    try:
        facts = gguf.facts_of_file(file)
        found_sizes = sizes(facts)
    except (RoundhouseError, KeyError, ValueError, ZeroDivisionError):
        total = sum(tensor.n_bytes for tensor in header.tensors.values())
        return found("GGUF metadata", weights_bytes=total or None)
    bits = round(facts.quantization.bits, 2) if facts.quantization else None
    active = found("GGUF metadata", bits_per_weight=bits, active_params=_active(facts))
    request = found_sizes.traits.get("kv_bytes_per_request")
    weights = found("GGUF metadata", weights_bytes=found_sizes.get("weights_bytes"))
    return active.over(weights).over(
        found("GGUF metadata", kv_bytes_per_request=request.value if request else None)
    )


def _commonest(header: gguf.Header) -> str | None:
    """The type of most of the weights, where the file does not name its mix."""
    elements: dict[int, int] = {}
    for tensor in header.tensors.values():
        elements[tensor.kind] = elements.get(tensor.kind, 0) + tensor.elements
    return BLOCKS[max(elements, key=lambda kind: elements[kind])][0] if elements else None


def _active(facts: ModelFacts) -> int | None:
    """Only where not all of them work on every token."""
    has_experts = any(isinstance(layer.feed_forward, Experts) for layer in facts.layers)
    return active_params(facts) if has_experts else None


def _modalities(config: Mapping[str, Any], *, known: bool) -> tuple[str, ...]:
    """Text alone is only said of an architecture whose parts are known."""
    sections = [config, *(each for each in config.values() if isinstance(each, Mapping))]
    seen = tuple(
        name
        for name, keys in _MODALITIES.items()
        if any(section.get(key) for section in sections for key in keys)
    )
    return ("text", *seen) if seen or known else ()


def _template(folder: Path) -> str | None:
    """Beside the tokenizer or in its config, where there may be several, by name."""
    text = _text(folder / "chat_template.jinja")
    if text:
        return text
    for file in ("tokenizer_config.json", "chat_template.json"):
        value = _json(folder / file).get("chat_template")
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "\n".join(str(one.get("template", "")) for one in value if isinstance(one, dict))
    return None


def _facts(folder: Path) -> ModelFacts | None:
    try:
        return load.load(str(folder))
    except (RoundhouseError, OSError, ValueError, TypeError, KeyError, ZeroDivisionError):
        return None


def _form(folder: Path) -> str | None:
    for suffix, form in ((".safetensors", "safetensors"), (".gguf", "gguf"), (".bin", "pytorch")):
        if any(folder.glob(f"*{suffix}")):
            return form
    return None


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(file) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
