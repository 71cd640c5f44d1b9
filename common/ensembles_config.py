"""What `ensembles:` may say of the kinds whose members answer side by side, and which kinds exist.

A kind can be asked for only when it is in router/ensembles/kinds.py too; a test holds that table
and `EnsembleConfig` together. The sections are frozen, and are what the kinds themselves read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.ensemble_section import AUTO, EnsembleLimits, EnsembleSection, Samples
from common.ensembles_chain import ChainConfig
from common.ensembles_judged import BestOfConfig, FuseConfig
from common.ensembles_steps import DecomposeConfig, VerifyConfig

Extract = Annotated[
    str, Field(pattern=r"^(auto|number|choice|boxed|text|json|json:[^\s:]+)$", max_length=200)
]

Temperature = Annotated[
    float,
    Field(ge=0, le=2, description="Of several samples, where the request names none."),
]

_ENSEMBLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRACT = "What two answers are compared by: auto, number, choice, boxed, text, json, json:FIELD."


class VoteConfig(EnsembleSection):
    """The answer that most give: of several models, or of several samples of one."""

    kind: Literal["vote"] = "vote"
    samples: Samples | None = Field(
        None, description="Answers of each member; default: 5 of a single one, 1 of several."
    )
    adaptive: bool = Field(
        default=False,
        description="Samples of a single member in rounds, as few as settle the vote.",
    )
    weights: Literal["record", "equal"] = Field(
        "record", description="How votes count: by each member's record, or all the same."
    )
    temperature: Temperature = 0.7
    extract: Extract = Field("auto", description=_EXTRACT)

    @property
    def of_each(self) -> int:
        return self.samples or (5 if len(self.members) < 2 else 1)

    @property
    def sampling(self) -> float | None:
        return self.temperature if self.of_each > 1 else None

    @property
    def answers(self) -> int:
        return len(self.members) * self.of_each

    def complaint(self) -> str | None:
        if self.adaptive and len(self.members) > 1:
            return "adaptive: asks a single member in rounds; several are asked at once anyway"
        if self.adaptive and self.first is not None:
            return "first: adaptive decides itself how many samples are enough"
        return super().complaint()


class CascadeConfig(EnsembleSection):
    """Small models first; the next larger one where they disagree or are not sure.

    Members stand from small to large. Of three or more the first two answer in parallel.
    """

    kind: Literal["cascade"] = "cascade"
    samples: Samples | None = Field(
        None,
        description="Answers of each first member, which must agree; default: 3 where a single "
        "one starts and no confidence is asked for, else 1.",
    )
    confidence: Literal["margin", "mean_logprob", "self_check"] | None = Field(
        None, description="What else an answer must pass to stand without a larger model."
    )
    threshold: float | None = Field(
        None, description="For margin and mean_logprob, in nats a token: less than it escalates."
    )
    temperature: Temperature = 0.7
    extract: Extract = Field("auto", description=_EXTRACT)

    @property
    def starters(self) -> int:
        return min(2, max(1, len(self.members) - 1))

    @property
    def of_each(self) -> int:
        alone = self.starters == 1 and self.confidence is None
        return self.samples or (3 if alone else 1)

    @property
    def sampling(self) -> float | None:
        return self.temperature if self.of_each > 1 else None

    @property
    def answers(self) -> int:
        return self.starters * self.of_each

    @property
    def requests(self) -> int:
        checks = 1 if self.confidence == "self_check" else 0
        return self.answers + checks + len(self.members) - self.starters

    @model_validator(mode="after")
    def _threshold_is_given(self) -> Self:
        by_number = self.confidence in ("margin", "mean_logprob")
        if by_number and self.threshold is None:
            raise ValueError(
                f"threshold: confidence {self.confidence} needs one, measured on the model itself"
            )
        if not by_number and self.threshold is not None:
            raise ValueError("threshold: only confidence margin and mean_logprob have one")
        return self

    def complaint(self) -> str | None:
        if len(self.members) < 2:
            return "members: a cascade needs at least two, from small to large"
        if self.answers == 1 and self.confidence is None:
            return "samples: a single answer agrees with nothing; ask for 2, or set confidence"
        if self.quorum != 1 or self.first is not None:
            return "quorum and first: a cascade goes on until somebody answers"
        return super().complaint()


class CompareConfig(EnsembleSection):
    """All members' answers side by side."""

    kind: Literal["compare"] = "compare"

    def complaint(self) -> str | None:
        if len(self.members) < 2:
            return "members: to compare takes at least two"
        return super().complaint()


SECTIONS: Mapping[str, type[EnsembleSection]] = {
    "vote": VoteConfig,
    "cascade": CascadeConfig,
    "compare": CompareConfig,
    "fuse": FuseConfig,
    "best_of": BestOfConfig,
    "verify": VerifyConfig,
    "decompose": DecomposeConfig,
    "chain": ChainConfig,
}

# Only what is built; the next kind is added here and in router/ensembles/kinds.py.
EnsembleConfig = Annotated[
    VoteConfig
    | CascadeConfig
    | CompareConfig
    | FuseConfig
    | BestOfConfig
    | VerifyConfig
    | DecomposeConfig
    | ChainConfig,
    Field(discriminator="kind"),
]


def check_ensembles(
    ensembles: Mapping[str, EnsembleSection], models: Collection[str], limits: EnsembleLimits
) -> None:
    """Raises ValueError for a name, a member or a size that cannot be. `models`: aliases too."""
    for name, each in ensembles.items():
        if name in SECTIONS or not _ENSEMBLE_NAME.fullmatch(name):
            raise ValueError(
                f"ensembles.{name}: no name for an ensemble; letters, digits and . _ - are "
                "allowed, and not the name of a kind"
            )
        unknown = next((m for m in each.models if m not in models and m != AUTO), None)
        if unknown is not None:
            raise ValueError(
                f"ensembles.{name}.{each.place_of(unknown)}: no model {unknown!r}; there are: "
                f"{', '.join(models)}"
            )
        whole = with_members(each)
        if complaint := whole.complaint() or oversize(whole, limits):
            raise ValueError(f"ensembles.{name}.{complaint}")


def with_members(section: EnsembleSection) -> EnsembleSection:
    """Where none is named, the one that `auto` takes."""
    return section if section.members else section.model_copy(update={"members": (AUTO,)})


def oversize(section: EnsembleSection, limits: EnsembleLimits) -> str | None:
    """What goes past the limits of the config, in size or in kind."""
    if section.requests <= limits.max_requests:
        return section.forbidden(limits)
    return (
        f"members: up to {section.requests} answers would be generated, more than "
        f"{limits.max_requests} (router.ensembles.max_requests)"
    )
