"""`roundhouse show`: what a model is and is good for, and where each of that was read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.listing import print_json, print_table
from cli.named import Named, named, no_model
from common.quality_config import TASKS
from common.units import format_bytes
from engines.hub.reference import parse
from engines.profiles import profile as profiles
from engines.profiles.found import TRAITS, Found, Trait
from engines.profiles.look import look
from router.catalog.profile import Profile, profile
from router.catalog.score import Score
from router.files import facts_in


def show(model: str, config: Path | None, as_json: bool) -> None:
    """Raises UsageError for what names no model, ModelFetchError where the hub does not tell."""
    wanted = named(model, config)
    found = _found(wanted)
    known = profile(wanted.name, wanted.source, wanted.model, facts_in(found))
    engine = _engine(wanted, found)
    if as_json:
        print_json(_json(wanted, found, known, engine))
        return
    print_table(("MODEL", wanted.name, ""), _rows(wanted, found, known, engine))
    print()
    print_table(("TASK", "SCORE", "BASIS", "SOURCE"), _scores(known))


def _found(wanted: Named) -> Found:
    told = _of_files(wanted)
    return profiles.settled(wanted.model, told) if wanted.model else told


def _of_files(wanted: Named) -> Found:
    if path := profiles.local_path(wanted.source):
        return look(path)
    if wanted.source.startswith(("http://", "https://", "embedded:")) or wanted.is_elsewhere:
        return Found()
    asked = parse(wanted.source)
    if asked is None:
        raise no_model(wanted.source)
    from engines.profiles.elsewhere import look_on_hub

    return look_on_hub(asked)


def _engine(wanted: Named, found: Found) -> Trait:
    if wanted.engine:
        return Trait(wanted.engine, "config")
    if wanted.source.startswith("http"):
        return Trait("openai", "a URL")
    by_format = "llamacpp" if found.get("format") == "gguf" else "vllm"
    return Trait(by_format, f"format {found.get('format') or 'not known'}")


def _rows(
    wanted: Named, found: Found, known: Profile, engine: Trait
) -> Iterator[tuple[object, object, object]]:
    yield "source", wanted.source, ""
    yield "family", known.family or "-", "name" if known.family else ""
    for name in TRAITS:
        trait = found.traits.get(name)
        yield name.replace("_", " "), _cell(name, trait), trait.origin if trait else ""
    yield "engine", engine.value, engine.origin


def _cell(name: str, trait: Trait | None) -> str:
    if trait is None:
        return "-"
    value = trait.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return format_bytes(value) if "bytes" in name else f"{value:,}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _scores(known: Profile) -> Iterator[tuple[object, ...]]:
    for task in TASKS:
        score = known.quality[task]
        yield task, f"{score.value:.2f}", score.basis, score.source
    for language, score in known.languages.items():
        yield f"({language})", f"{score.value:.2f}", score.basis, score.source


def _json(wanted: Named, found: Found, known: Profile, engine: Trait) -> dict[str, Any]:
    traits = {name: found.traits.get(name) for name in TRAITS}
    scores: dict[str, Score] = {task: known.quality[task] for task in TASKS}
    scores |= {f"language:{code}": score for code, score in known.languages.items()}
    return {
        "model": wanted.name,
        "source": wanted.source,
        "family": known.family,
        "engine": engine.value,
        **{name: trait.value if trait else None for name, trait in traits.items()},
        "origins": {name: trait.origin for name, trait in traits.items() if trait},
        "scores": {
            task: {"value": round(score.value, 4), "basis": score.basis, "source": score.source}
            for task, score in scores.items()
        },
        "notes": list(found.notes),
    }
