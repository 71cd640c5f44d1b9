"""The keys of `ensembles:` that every kind has, and the limits that hold for all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.section import Section
from common.units import Duration

MAX_REQUESTS = 16
MAX_SAMPLES = 64
ROLES = ("judge", "planner", "writer")  # keys that name one model beside the members
AUTO = "auto"  # as a member: the model that `auto` takes for this request

Samples = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
Name = Annotated[str, Field(min_length=1)]


class EnsembleLimits(Section):
    """`router.ensembles`: what holds for every ensemble, whoever asks for it."""

    max_requests: Annotated[int, Field(ge=1, le=1024)] = Field(
        MAX_REQUESTS, description="Answers that one request may have generated at the most."
    )
    sandbox: bool = Field(
        default=False,
        description="Whether best_of may run the code of answers, shut in, for check.tests.",
    )


class BudgetConfig(Section):
    """What one request may cost, all its members together. An answer of n samples counts n."""

    requests: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Answers; default: what the ensemble needs at the most."
    )
    tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Tokens in and out; default: no limit."
    )


class EnsembleSection(Section):
    """The keys that every kind has."""

    kind: str
    members: tuple[Name, ...] = Field((), description="Models, by name or alias.")
    quorum: Annotated[int, Field(ge=1)] = Field(
        1, description="Answers without which the request has failed."
    )
    first: Annotated[int, Field(ge=1)] | None = Field(
        None, description="So many answers are enough; the rest is cancelled. Default: all."
    )
    soft_deadline_s: Duration | None = Field(
        None,
        alias="soft_deadline",
        description="Past it a quorum is enough. Default: the deadline.",
    )
    deadline_s: Duration = Field(
        120.0, alias="deadline", description="From first to last; past it, 504."
    )
    on_error: Literal["skip", "fail"] = Field(
        "skip", description="A member fails: go on without it, or fail."
    )
    budget: BudgetConfig = BudgetConfig()

    @property
    def models(self) -> tuple[str, ...]:
        """Everyone who may be asked, judges and the like included."""
        named = (getattr(self, role, None) for role in ROLES)
        return tuple(dict.fromkeys((*self.members, *filter(None, named))))

    def place_of(self, model: str) -> str:
        """The key that names it, for errors."""
        if model in self.members:
            return "members"
        return next(role for role in ROLES if getattr(self, role, None) == model)

    @property
    def panel_s(self) -> float | None:
        """Seconds after which a phase is over once it has its quorum."""
        return self.soft_deadline_s

    @property
    def answers(self) -> int:
        """How many of the members' answers are planned, and so the most that `quorum` can ask."""
        return len(self.members)

    @property
    def requests(self) -> int:
        """The most answers that it may have generated, judges and checks included."""
        return self.answers

    def forbidden(self, limits: EnsembleLimits) -> str | None:
        """What it asks for that the config must allow."""
        return None

    def complaint(self) -> str | None:
        """What is wrong once the members are known."""
        if len(set(self.members)) != len(self.members):
            return "members: names a model twice; samples asks one several times"
        if AUTO in self.members and len(self.members) > 1:
            return f"members: {AUTO!r} can only be the single one"
        wanted = max(self.quorum, self.first or 0)
        if wanted > self.answers:
            return f"quorum or first: {wanted} is more than the {self.answers} answers planned"
        return None
