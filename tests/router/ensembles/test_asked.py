from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from common.ensemble_section import AUTO, EnsembleLimits, EnsembleSection
from common.ensembles_config import (
    SECTIONS,
    CascadeConfig,
    CompareConfig,
    EnsembleConfig,
    VoteConfig,
    check_ensembles,
)
from common.ensembles_judged import BestOfConfig, FuseConfig
from common.ensembles_steps import VerifyConfig
from common.errors import BadRequestError, ModelNotFoundError
from router.ensembles.asked import Known, recipe_of
from router.ensembles.kinds import KINDS
from router.ensembles.naming import FORMS, is_ensemble, keys_of, split
from router.ensembles.recipe import Recipe

MODELS = ("small", "large", "huge", "llama3.2:3b", "a+b", "org/m:v2")
COUNCIL = CompareConfig(members=("small", "large"))
KNOWN = Known(MODELS, {"council": COUNCIL, "many": VoteConfig(samples=3)})
ALL = Known(MODELS, kinds=tuple(SECTIONS))


def asked(model: str | None, body: dict[str, Any] | None = None, known: Known = KNOWN) -> Recipe:
    recipe = recipe_of(model, body or {}, known)
    assert recipe is not None
    return recipe


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("ensemble:council", COUNCIL),
        ("ensemble:many", VoteConfig(members=(AUTO,), samples=3)),
        ("ensemble:vote", VoteConfig(members=(AUTO,))),
        ("ensemble:vote:5", VoteConfig(members=(AUTO,), samples=5)),
        ("ensemble:vote:5:small", VoteConfig(members=("small",), samples=5)),
        ("ensemble:vote:3:llama3.2:3b", VoteConfig(members=("llama3.2:3b",), samples=3)),
        ("ensemble:vote:small+large+huge", VoteConfig(members=("small", "large", "huge"))),
        ("ensemble:vote:2:a+b+small", VoteConfig(members=("a+b", "small"), samples=2)),
        ("ensemble:vote:org/m:v2", VoteConfig(members=("org/m:v2",))),
        ("ensemble:compare:small+a+b", CompareConfig(members=("small", "a+b"))),
        ("ensemble:cascade:small>large", CascadeConfig(members=("small", "large"))),
        ("cascade:small>large", CascadeConfig(members=("small", "large"))),
        ("cascade:small>large>huge", CascadeConfig(members=("small", "large", "huge"))),
    ],
)
def test_names(name: str, spec: EnsembleSection) -> None:
    assert asked(name) == Recipe(name, spec)


@pytest.mark.parametrize("name", [None, "small", "auto", "auto:code", "ensembles", "cascades"])
def test_other_names_are_no_ensembles(name: str | None) -> None:
    assert recipe_of(name, {"routing": {"task": "code"}, "plugins": [{"id": "web"}]}, KNOWN) is None
    assert not is_ensemble(name)


def test_routing_names_or_describes_one() -> None:
    assert asked(None, {"routing": {"ensemble": "council"}}).spec == COUNCIL
    assert asked(None, {"routing": {"ensemble": "ensemble:vote:3:small"}}).spec.members == (
        "small",
    )
    assert asked(None, {"routing": {"ensemble": "cascade:small>large"}}).kind == "cascade"
    described = {"kind": "vote", "samples": 4, "extract": "json:answer", "deadline": "30s"}
    recipe = asked("small", {"routing": {"ensemble": described}})
    assert recipe.spec == VoteConfig(
        members=("small",), samples=4, extract="json:answer", deadline_s=30
    )
    assert recipe.name == "ensemble:vote"
    assert asked("ensemble", {"routing": {"ensemble": described}}).members == (AUTO,)


def test_forms_of_kinds_that_others_build() -> None:
    assert asked("ensemble:fuse:small+large", known=ALL).spec == FuseConfig(
        members=("small", "large")
    )
    assert asked("ensemble:best_of:3:small", known=ALL).spec == BestOfConfig(
        members=("small",), samples=3
    )
    assert asked("ensemble:verify:small>large", known=ALL).spec == VerifyConfig(
        members=("small", "large")
    )
    steps = [{"name": "draft", "model": "small", "template": "{question}"}]
    chain = asked(None, {"routing": {"ensemble": {"kind": "chain", "steps": steps}}}, ALL)
    assert chain.max_requests == 1
    with pytest.raises(BadRequestError, match="'chain' is not named so"):
        recipe_of("ensemble:chain:small", {}, ALL)


def test_openrouters_plugin() -> None:
    plugin = {"id": "fusion", "analysis_models": ["small", "large"], "model": "huge"}
    recipe = asked("small", {"plugins": [{"id": "web"}, plugin]}, ALL)
    assert recipe.spec == FuseConfig(members=("small", "large"), judge="huge")
    assert recipe_of("small", {"plugins": [{**plugin, "enabled": False}]}, ALL) is None
    with pytest.raises(BadRequestError, match="no ensemble kind 'fuse'; there are: vote, cascade"):
        recipe_of("small", {"plugins": [plugin]}, Known(MODELS, kinds=("vote", "cascade")))
    with pytest.raises(BadRequestError, match="fusion has no 'preset' here; allowed: analysis"):
        recipe_of("small", {"plugins": [{**plugin, "preset": "x"}]}, ALL)
    with pytest.raises(ModelNotFoundError, match="no model 'judy'"):
        recipe_of("small", {"plugins": [{**plugin, "model": "judy"}]}, ALL)
    with pytest.raises(BadRequestError, match="cannot be nested"):
        recipe_of("small", {"plugins": [{**plugin, "model": "ensemble:vote"}]}, ALL)


UNBUILT = Known(MODELS, {"council": COUNCIL}, kinds=("vote", "cascade", "compare"))


@pytest.mark.parametrize(
    ("model", "ensemble", "error", "told"),
    [
        ("ensemble:nobody", None, ModelNotFoundError, "ensembles: council; and kinds.*: vote, cas"),
        ("ensemble", None, ModelNotFoundError, "no ensemble 'ensemble'"),
        ("ensemble:fuse:small+large", None, ModelNotFoundError, "kinds.*: vote, cascade, compare"),
        ("ensemble:vote:5:nobody", None, ModelNotFoundError, "no model 'nobody'; there are: small"),
        ("ensemble:vote:5:ensemble:vote", None, BadRequestError, "cannot be nested"),
        ("cascade:small>cascade:a>b", None, BadRequestError, "cannot be nested"),
        ("ensemble:vote:0:small", None, BadRequestError, "samples: Input should be greater"),
        ("ensemble:vote:17:small", None, BadRequestError, "17 answers.* more than 16"),
        ("ensemble:vote:6:small+large+huge", None, BadRequestError, "18 answers.* more than 16"),
        ("ensemble:vote:small+small", None, BadRequestError, "names a model twice"),
        ("ensemble:vote:auto+small", None, BadRequestError, "'auto' can only be the single"),
        ("ensemble:compare:small", None, BadRequestError, "takes at least two"),
        ("cascade:small", None, BadRequestError, "at least two"),
        ("ensemble:council", "council", BadRequestError, "both name an ensemble"),
        (None, "nobody", ModelNotFoundError, "no ensemble 'ensemble:nobody'"),
        (None, 3, BadRequestError, "must be a name, or an object"),
        (None, {"members": ["small"]}, BadRequestError, "no ensemble kind None; there are: vote"),
        (
            None,
            {"kind": "fuse"},
            BadRequestError,
            "no ensemble kind 'fuse'; there are: vote, casca",
        ),
        (None, {"kind": ["vote"]}, BadRequestError, "no ensemble kind"),
        (None, {"kind": "vote", "sample": 3}, BadRequestError, r"sample: Extra inputs are not"),
        (None, {"kind": "vote", "extract": "xml"}, BadRequestError, "extract: String should match"),
        (None, {"kind": "vote", "quorum": 6}, BadRequestError, "6 is more than the 5 answers"),
        (None, {"kind": "vote", "members": "small"}, BadRequestError, "valid tuple"),
        (
            None,
            {"kind": "vote", "members": ["small", "large"], "adaptive": True},
            BadRequestError,
            "single member in rounds",
        ),
        (
            None,
            {"kind": "vote", "members": ["small"], "adaptive": True, "first": 2},
            BadRequestError,
            "adaptive decides itself",
        ),
        (
            None,
            {"kind": "cascade", "members": ["small", "large"], "confidence": "margin"},
            BadRequestError,
            "margin needs one",
        ),
        (
            None,
            {"kind": "cascade", "members": ["small", "large"], "threshold": 1},
            BadRequestError,
            "only confidence margin",
        ),
        (
            None,
            {"kind": "cascade", "members": ["small", "large"], "samples": 1},
            BadRequestError,
            "agrees with nothing",
        ),
        (
            None,
            {"kind": "cascade", "members": ["small", "large"], "quorum": 2},
            BadRequestError,
            "goes on until",
        ),
    ],
)
def test_refusals(model: str | None, ensemble: Any, error: type[Exception], told: str) -> None:
    body = {} if ensemble is None else {"routing": {"ensemble": ensemble}}
    with pytest.raises(error, match=told):
        recipe_of(model, body, UNBUILT)


def test_routing_and_plugin_at_once() -> None:
    body = {"routing": {"ensemble": "council"}, "plugins": [{"id": "fusion"}]}
    with pytest.raises(BadRequestError, match="both name an ensemble"):
        recipe_of("small", body, ALL)


def test_the_limit_is_the_configs() -> None:
    known = Known(MODELS, limits=EnsembleLimits(max_requests=4))
    assert asked("ensemble:vote:4:small", known=known).max_requests == 4
    with pytest.raises(BadRequestError, match=r"more than 4 \(router.ensembles.max_requests\)"):
        recipe_of("ensemble:vote:5:small", {}, known)


def test_amplification_counts_all_that_may_be_asked() -> None:
    assert asked("cascade:small>large").max_requests == 4  # 3 samples and one larger
    assert asked("cascade:small>large>huge").max_requests == 3
    checked = {"kind": "cascade", "members": ["small", "large"], "confidence": "self_check"}
    assert asked(None, {"routing": {"ensemble": checked}}).max_requests == 3
    budget = {"kind": "vote", "members": ["small"], "budget": {"requests": 2}}
    assert asked(None, {"routing": {"ensemble": budget}}).max_requests == 2


def test_built_kinds_are_the_same_everywhere() -> None:
    tagged = TypeAdapter(EnsembleConfig).json_schema()["discriminator"]["mapping"]
    assert set(tagged) == set(KINDS)
    assert set(KINDS) <= set(SECTIONS)
    assert set(FORMS) <= set(SECTIONS)
    for kind, section in SECTIONS.items():
        assert get_args(section.model_fields["kind"].annotation) == (kind,)


def test_names_that_exist_win_over_separators() -> None:
    assert split("a+b+small", "+", MODELS) == ("a+b", "small")
    assert split("a+b", "+", ("a", "b")) == ("a", "b")
    assert split("nobody+small", "+", MODELS) == ("nobody", "small")
    assert keys_of("ensemble:vote:7", ("7",), KINDS) == {"kind": "vote", "members": ("7",)}


@pytest.mark.parametrize(
    ("name", "section", "told"),
    [
        ("vote", VoteConfig(), "not the name of a kind"),
        ("a:b", VoteConfig(), "no name for an ensemble"),
        ("x", VoteConfig(members=("nobody",)), "no model 'nobody'; there are: small"),
        ("x", CompareConfig(members=("small",)), "ensembles.x.members: to compare"),
        ("x", CompareConfig(), "ensembles.x.members: to compare"),
        ("x", VoteConfig(members=("auto", "small")), "'auto' can only be the single one"),
        ("x", VoteConfig(members=("small",), samples=20), "ensembles.x.*20 answers"),
    ],
)
def test_config_is_checked(name: str, section: EnsembleSection, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_ensembles({name: section}, MODELS, EnsembleLimits())


def test_a_config_that_is_right() -> None:
    check_ensembles({"council": COUNCIL, "any": VoteConfig()}, MODELS, EnsembleLimits())
