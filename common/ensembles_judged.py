"""Sections of the ensembles that judge their members' answers: fuse and best_of."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from common.ensemble_section import EnsembleLimits, EnsembleSection, Name, Samples
from common.section import Section

_TEMPERATURE = 0.7  # of several samples, where the request names none
_SELF_PANEL = 3  # answers of a single member that makes a panel alone
_MAX_TESTS_CHARS = 100_000
_MAX_REGEX_CHARS = 1000

Seed = Annotated[
    int | None, Field(description="Of the order in which a judge reads answers; default: random.")
]
JudgeName = Annotated[
    Name | None, Field(description="Who judges; default: the member with the best record.")
]


class _JudgedSection(EnsembleSection):
    """What both have: some answers of each member, and a judge who does not know whose they are."""

    samples: Samples | None = Field(None, description="Answers of each member.")
    judge: JudgeName = None
    seed: Seed = None

    @property
    def of_each(self) -> int:
        return self.samples or (_SELF_PANEL if len(self.members) < 2 else 1)

    @property
    def sampling(self) -> float | None:
        return _TEMPERATURE if self.of_each > 1 else None

    @property
    def answers(self) -> int:
        return len(self.members) * self.of_each

    @property
    def is_judged(self) -> bool:
        return True

    @property
    def panel_s(self) -> float | None:
        """Half of the time is left for who judges."""
        return self.soft_deadline_s or (self.deadline_s / 2 if self.is_judged else None)


class FuseConfig(_JudgedSection):
    """A panel, a judge's analysis of its answers, and one answer made of them."""

    kind: Literal["fuse"] = "fuse"
    writer: Name | None = Field(None, description="Who writes the answer; default: the judge.")

    @property
    def requests(self) -> int:
        return self.answers + 2

    def complaint(self) -> str | None:
        if self.answers < 2:
            return "members: a panel takes two answers or more; name members, or samples"
        return super().complaint()


class CheckConfig(Section):
    """What answers are checked by. All that is given must hold."""

    json_schema: dict[str, Any] | None = Field(None, description="The answer is JSON like that.")
    regex: Annotated[str, Field(max_length=_MAX_REGEX_CHARS)] | None = Field(
        None, description="Found in the answer; grammar of Python's re."
    )
    tests: Annotated[str, Field(max_length=_MAX_TESTS_CHARS)] | None = Field(
        None,
        description="Python code that runs after the answer's own, in a sandbox; needs "
        "router.ensembles.sandbox.",
    )
    unit: Name | None = Field(None, description="A number with this unit stands in the answer.")
    language: Literal["ko", "en"] | None = Field(None, description="Of the answer.")
    min_chars: Annotated[int, Field(ge=1)] | None = None
    max_chars: Annotated[int, Field(ge=1)] | None = None

    @field_validator("regex")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a pattern of Python's re: {error}") from None
        return pattern

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(schema or {})
        except SchemaError as error:
            raise ValueError(f"not a JSON schema: {error.message}") from None
        except RecursionError:
            raise ValueError("not a JSON schema: nested too deeply") from None
        return schema

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"check: give at least one of {', '.join(type(self).model_fields)}")
        if (self.min_chars or 0) > (self.max_chars or self.min_chars or 0):
            raise ValueError("check: min_chars is more than max_chars")
        return self


class BestOfConfig(_JudgedSection):
    """The first answer that passes a check; without a check the one that a judge prefers."""

    kind: Literal["best_of"] = "best_of"
    check: CheckConfig | None = None
    none_passes: Literal["return", "fail"] = Field(
        "return", description="No answer passes: return the one that comes closest, or fail (502)."
    )

    @property
    def is_judged(self) -> bool:
        return self.check is None

    @property
    def requests(self) -> int:
        """Without a check every answer but the first is compared, in both orders."""
        return self.answers + (2 * (self.answers - 1) if self.is_judged else 0)

    def forbidden(self, limits: EnsembleLimits) -> str | None:
        if self.check and self.check.tests is not None and not limits.sandbox:
            return "check.tests: code is run only where router.ensembles.sandbox is true"
        return super().forbidden(limits)

    def complaint(self) -> str | None:
        if self.check and self.judge:
            return "judge: the check decides already; leave one of the two out"
        if not self.check and self.answers < 2:
            return "samples: there is nothing to choose from; ask for 2 or more answers"
        return super().complaint()
