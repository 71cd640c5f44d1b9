"""Does a request want an ensemble, and which: by its model's name, its `routing.ensemble`, or
OpenRouter's fusion plugin. All become one `Recipe`, or an error that says what is allowed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from common.ensemble_section import AUTO, EnsembleLimits, EnsembleSection
from common.ensembles_config import SECTIONS, oversize, with_members
from common.errors import BadRequestError, ModelNotFoundError
from router.ensembles.kinds import KINDS
from router.ensembles.naming import PREFIX, Keys, is_ensemble, keys_of, not_found
from router.ensembles.recipe import Recipe

_FUSION = "fusion"
_PLUGIN_KEYS = frozenset({"id", "enabled", "analysis_models", "model"})


@dataclass(frozen=True)
class Known:
    """What there is to ask for. `models`: with aliases; `kinds`: those that are built."""

    models: Collection[str]
    ensembles: Mapping[str, EnsembleSection] = field(default_factory=dict)
    limits: EnsembleLimits = field(default_factory=EnsembleLimits)
    kinds: Collection[str] = tuple(KINDS)

    @property
    def names(self) -> tuple[str, ...]:
        """For the list of models."""
        return tuple(f"{PREFIX}:{name}" for name in self.ensembles)


def recipe_of(model: str | None, body: Mapping[str, Any], known: Known) -> Recipe | None:
    """None where no ensemble is asked for.

    Raises BadRequestError or ModelNotFoundError. A model that is named beside `routing.ensemble`
    or a plugin is the one member of an ensemble that names none.
    """
    said, place = _in_body(body, known)
    if said is None and not is_ensemble(model):
        return None
    if said is None:
        assert model is not None
        return _by_name(model, known)
    if is_ensemble(model) and model != PREFIX:
        raise BadRequestError(
            f"{place} and model {model!r} both name an ensemble; leave one out", param=place
        )
    if isinstance(said, str):
        return _by_name(said if is_ensemble(said) else f"{PREFIX}:{said}", known, place)
    if not said.get("members") and model not in (None, PREFIX):
        said = {**said, "members": [model]}
    return _checked(f"{PREFIX}:{said.get('kind')}", said, known, place)


def _in_body(body: Mapping[str, Any], known: Known) -> tuple[str | Keys | None, str]:
    routing = body.get("routing")
    asked = routing.get("ensemble") if isinstance(routing, Mapping) else None
    plugin = _plugin(body.get("plugins"))
    if asked is not None and plugin is not None:
        raise BadRequestError(
            "routing.ensemble and plugins both name an ensemble; leave one out", param="routing"
        )
    if plugin is not None:
        return plugin, "plugins"
    if asked is not None and not isinstance(asked, str | dict):
        raise BadRequestError(
            "routing.ensemble must be a name, or an object with a kind, one of: "
            f"{', '.join(known.kinds)}",
            param="routing.ensemble",
        )
    return asked, "routing.ensemble"


def _plugin(plugins: Any) -> Keys | None:
    """OpenRouter's way to ask for `fuse`. Plugins of other names are none of ours."""
    listed = plugins if isinstance(plugins, list) else []
    found = [p for p in listed if isinstance(p, Mapping) and p.get("id") == _FUSION]
    if not found or found[0].get("enabled") is False:
        return None
    unknown = found[0].keys() - _PLUGIN_KEYS
    if unknown:
        raise BadRequestError(
            f"plugins: {_FUSION} has no {min(unknown)!r} here; allowed: "
            f"{', '.join(sorted(_PLUGIN_KEYS))}",
            param="plugins",
        )
    keys = {"members": found[0].get("analysis_models"), "judge": found[0].get("model")}
    return {"kind": "fuse", **{key: value for key, value in keys.items() if value is not None}}


def _by_name(name: str, known: Known, place: str = "model") -> Recipe:
    configured = known.ensembles.get(name.removeprefix(f"{PREFIX}:"))
    if configured is not None:
        return _recipe(name, configured, known, place)
    keys = keys_of(name, known.models, known.kinds)
    if keys is None:
        raise not_found(name, known.ensembles, known.kinds)
    return _checked(name, keys, known, place)


def _checked(name: str, keys: Keys, known: Known, place: str) -> Recipe:
    kind = keys.get("kind")
    if kind not in known.kinds:
        raise BadRequestError(
            f"{place}: no ensemble kind {kind!r}; there are: {', '.join(known.kinds)}", param=place
        )
    try:
        spec = SECTIONS[str(kind)].model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (place, *first["loc"]))
        raise BadRequestError(f"{where}: {first['msg']}", param=place) from None
    return _recipe(name, spec, known, place)


def _recipe(name: str, spec: EnsembleSection, known: Known, place: str) -> Recipe:
    spec = with_members(spec)
    for model in spec.models:
        _check_member(model, known, place)
    complaint = spec.complaint() or oversize(spec, known.limits)
    if complaint:
        raise BadRequestError(f"{place}: {complaint}", param=place)
    return Recipe(name, spec)


def _check_member(model: str, known: Known, place: str) -> None:
    if is_ensemble(model):
        raise BadRequestError(
            f"{place}: {model!r} is an ensemble, and ensembles cannot be nested", param=place
        )
    if model != AUTO and model not in known.models:
        raise ModelNotFoundError(
            f"{place}: no model {model!r}; there are: {', '.join(known.models)}", param=place
        )
