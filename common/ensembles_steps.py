"""Sections of the ensembles of several steps: verify, decompose.

None of them can be asked for before its kind stands in router/ensembles/kinds.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.ensemble_section import EnsembleSection, Name

CriterionName = Annotated[str, Field(pattern=r"^[\w-]+$", max_length=64)]
DEFAULT_CRITERIA = {
    "correct": "Every fact, figure and step of reasoning is right.",
    "complete": "It answers all that was asked, and keeps to what was asked for.",
}


class VerifyConfig(EnsembleSection):
    """The first member answers, the second checks it by named criteria, and the first corrects.

    A single member checks itself.
    """

    kind: Literal["verify"] = "verify"
    criteria: Annotated[dict[CriterionName, Name], Field(min_length=1, max_length=16)] = Field(
        default=DEFAULT_CRITERIA, description="By name: what an answer must be to pass."
    )
    rounds: Annotated[int, Field(ge=1, le=5)] = Field(1, description="Corrections at the most.")

    @property
    def answers(self) -> int:
        return 1

    @property
    def requests(self) -> int:
        """An answer and its check, as much a round, and a check that an engine refused as JSON."""
        return 3 + 2 * self.rounds

    def complaint(self) -> str | None:
        if len(self.members) > 2:
            return "members: verify has two, who answers and who checks, or one that does both"
        if self.first is not None:
            return "first: verify has only one answer at a time"
        return super().complaint()


class DecomposeConfig(EnsembleSection):
    """A plan of sub-questions, each answered on its own, and one answer made of them.

    Sub-questions go to the members in turn; with the member `auto` each to the model that its own
    task asks for.
    """

    kind: Literal["decompose"] = "decompose"
    max_questions: Annotated[int, Field(ge=1, le=16)] = 5
    planner: Name | None = Field(
        None, description="Who makes the plan; default: the member with the best record."
    )
    writer: Name | None = Field(
        None, description="Who writes the answer; default: the member with the best record."
    )

    @property
    def answers(self) -> int:
        return self.max_questions

    @property
    def requests(self) -> int:
        """The answers, a plan, the whole, and a plan that an engine refused as JSON."""
        return self.max_questions + 3
