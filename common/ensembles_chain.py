"""Section of the ensemble `chain`: steps that are asked one after the other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common import template
from common.ensemble_section import AUTO, EnsembleSection, Name
from common.quality_config import Task
from common.section import Section

QUESTION = "question"


class ChainStep(Section):
    """One step: who is asked, and what, in terms of the question and of what earlier steps said."""

    name: Annotated[str, Field(pattern=r"^[\w-]+$", max_length=64)]
    model: Name | None = Field(
        None, description="Who is asked; default: the chain's one member, else `auto`."
    )
    task: Task | None = Field(None, description="Instead of a model: whom `auto` takes for it.")
    template: Name = Field(description="Names {question} and {steps.NAME} of earlier steps.")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Of its answer; the last step has the client's limit, too."
    )

    @property
    def key(self) -> str:
        """As later templates name it."""
        return f"steps.{self.name}"

    @model_validator(mode="after")
    def _is_asked_of_one(self) -> Self:
        if self.model is not None and self.task is not None:
            raise ValueError("task: the step names a model already; give one of the two")
        return self


class ChainConfig(EnsembleSection):
    """Named steps, one after the other; the last one's answer is the answer."""

    kind: Literal["chain"] = "chain"
    steps: Annotated[tuple[ChainStep, ...], Field(min_length=1)]

    @property
    def answers(self) -> int:
        return len(self.steps)

    @property
    def models(self) -> tuple[str, ...]:
        named = (step.model for step in self.steps if step.model)
        return tuple(dict.fromkeys((*self.members, *named)))

    def asked(self, step: ChainStep) -> str:
        """The model's name of a step."""
        if step.task is not None:
            return f"{AUTO}:{step.task}"
        return step.model or (self.members[0] if self.members else AUTO)

    def place_of(self, model: str) -> str:
        named = (i for i, step in enumerate(self.steps) if step.model == model)
        i = next(named, None)
        return super().place_of(model) if i is None else f"steps[{i}].model"

    @model_validator(mode="after")
    def _templates_name_what_is_there(self) -> Self:
        known = [QUESTION]
        for i, step in enumerate(self.steps):
            if step.key in known:
                raise ValueError(f"steps[{i}].name: there is a step {step.name!r} already")
            _check(step, f"steps[{i}].template", known)
            known.append(step.key)
        return self

    def complaint(self) -> str | None:
        if len(self.members) > 1:
            return "members: a chain has one at the most, for steps without a model or task"
        if self.quorum != 1 or self.first is not None:
            return "quorum and first: a chain goes on until its last step"
        if self.budget.requests and self.budget.requests < len(self.steps):
            return f"budget.requests: a chain of {len(self.steps)} steps asks so often"
        return super().complaint()


def _check(step: ChainStep, place: str, known: Collection[str]) -> None:
    unknown = next((name for name in template.names(step.template) if name not in known), None)
    if unknown is not None:
        shown = ", ".join(f"{{{name}}}" for name in known)
        raise ValueError(
            f"{place}: no {{{unknown}}} at this step; there are: {shown} "
            f"(text in braces is written {{{{{unknown}}}}})"
        )
