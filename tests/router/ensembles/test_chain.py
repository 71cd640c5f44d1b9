from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common import config_file
from common.ensembles_chain import ChainConfig
from common.errors import ConfigError, DeadlineError, EngineError
from router.ensembles.ask import Member, Request
from router.ensembles.chain import chain
from tests.router.ensembles.flaky import QUESTION, Ended, Script, played

KINDS = {"chain": chain}
BROKEN = Script(error=EngineError("broken"))
STEPS = (
    {"name": "outline", "model": "a", "template": "Outline: {question}"},
    {"name": "code", "task": "code", "template": "Code for {steps.outline}"},
    {"name": "whole", "template": "{steps.outline}\n{steps.code}\n{question} as {{question}}"},
)


def of(*steps: dict[str, Any], **keys: Any) -> ChainConfig:
    spec = ChainConfig.model_validate({"steps": steps or STEPS, "members": ("w",), **keys})
    assert spec.complaint() is None
    return spec


def run_of(spec: ChainConfig, request: Request = QUESTION, **members: Any) -> Ended:
    keys = {k: members.pop(k) for k in ("roster", "hang_up_after_s") if k in members}
    scripts = {"a": Script(["I, II"]), "auto:code": Script(["x = {}"]), "w": Script(["all"])}
    return played(spec, scripts | members, request, kinds=KINDS, **keys)


def prompts(run: Ended) -> list[str]:
    return [request.messages[-1]["content"] for _, request in run.house.asked]


def test_each_step_is_asked_in_terms_of_earlier_ones() -> None:
    run = run_of(of())
    assert run.text == "all"
    assert [model for model, _ in run.house.asked] == ["a", "auto:code", "w"]
    assert prompts(run) == [
        "Outline: How many?",
        "Code for I, II",
        "I, II\nx = {}\nHow many? as {question}",
    ]
    assert run.house.finals == ["w"]
    assert [call.phase for call in run.trace.calls] == ["outline", "code", "whole"]
    assert run.trace.notes["steps"] == {"outline": "I, II", "code": "x = {}"}
    assert "clipped" not in run.trace.notes


def test_braces_within_answers_and_questions_are_text() -> None:
    evil = Script(["{question} {steps.code} {0} {{question}}"])
    request = Request(({"role": "user", "content": "{steps.outline}"},))
    run = run_of(of(), request, a=evil)
    assert prompts(run)[:2] == [
        "Outline: {steps.outline}",
        "Code for {question} {steps.code} {0} {{question}}",
    ]


def test_a_step_without_model_or_task_is_the_members_or_autos() -> None:
    spec = ChainConfig.model_validate({"steps": [{"name": "x", "template": "{question}"}]})
    run = played(spec, {"auto": Script(["1"])}, kinds=KINDS)
    assert run.text == "1"


def test_only_the_last_step_has_the_clients_terms() -> None:
    system = {"role": "system", "content": "Be kind."}
    fields = {"stop": ["."], "response_format": {"type": "json_object"}, "temperature": 0.2}
    run = run_of(of(), Request((system, *QUESTION.messages), fields, max_tokens=7))
    outline, code, whole = (request for _, request in run.house.asked)
    assert outline.fields == code.fields == {"temperature": 0.2}
    assert outline.max_tokens is None
    assert whole.fields == fields
    assert whole.max_tokens == 7
    assert whole.messages[0] == outline.messages[0] == system


def test_a_steps_own_limit() -> None:
    steps = (
        {"name": "x", "template": "{question}", "max_tokens": 30},
        {"name": "y", "template": "{steps.x}", "max_tokens": 50},
    )
    run = run_of(of(*steps), Request(QUESTION.messages, max_tokens=200))
    assert [request.max_tokens for _, request in run.house.asked] == [30, 50]
    small = run_of(of(*steps), Request(QUESTION.messages, max_tokens=20))
    assert [request.max_tokens for _, request in small.house.asked] == [30, 20]


def test_thoughts_are_not_handed_on() -> None:
    run = run_of(of(), a=Script(["<think>hm</think>I, II"]))
    assert prompts(run)[1] == "Code for I, II"


def test_outputs_are_cut_to_the_next_models_context() -> None:
    roster = {"w": Member("w", context_tokens=1024)}
    run = run_of(of(), a=Script(["long " * 3000]), roster=roster)
    whole = run.house.asked[-1][1]
    assert whole.prompt_tokens + 100 <= 1024
    assert "x = {}\nHow many? as {question}" in prompts(run)[-1]  # what is short stays whole
    assert run.trace.notes["clipped"] == ["whole"]
    assert len(prompts(run)[1]) > 15_000  # of whose context nothing is known


@pytest.mark.parametrize("bad", [BROKEN, Script([""])])
@pytest.mark.parametrize("who", ["a", "auto:code", "w"])
def test_a_step_that_fails_or_is_empty_ends_it(who: str, bad: Script) -> None:
    run = run_of(of(), **{who: bad})
    assert isinstance(run.error, EngineError)
    assert run.house.asked[-1][0] == who


def test_a_step_that_hangs_ends_at_the_deadline() -> None:
    run = run_of(of(deadline_s=5), **{"auto:code": Script(hangs=True)})
    assert isinstance(run.error, DeadlineError)
    assert run.took_s == pytest.approx(5)
    assert run.house.cancelled == ["auto:code"]


def test_budget() -> None:
    run = run_of(of(budget={"tokens": 120}))
    assert run.spent <= 120
    assert "steps asks so often" in str(
        ChainConfig.model_validate({"steps": STEPS, "budget": {"requests": 2}}).complaint()
    )


@pytest.mark.parametrize(("after_s", "who"), [(0.5, "a"), (1.5, "auto:code"), (2.5, "w")])
def test_a_client_that_hangs_up_at_any_step(after_s: float, who: str) -> None:
    assert run_of(of(), hang_up_after_s=after_s).house.cancelled == [who]


def test_what_it_cannot_do_is_refused() -> None:
    tools = Request(QUESTION.messages, {"tools": [{"type": "function"}]})
    assert "takes no tools" in str(run_of(of(), tools).error)
    image = Request(({"role": "user", "content": [{"type": "image_url"}]},))
    assert "takes text only" in str(run_of(of(), image).error)


def test_complaints() -> None:
    one = {"name": "x", "template": "{question}"}
    for keys, told in [
        ({"members": ("a", "b")}, "members: a chain has one"),
        ({"first": 1}, "quorum and first"),
    ]:
        assert told in str(ChainConfig.model_validate({"steps": [one], **keys}).complaint())


CONFIG = """\
models:
  small: {source: a/b}
ensembles:
  blog:
    kind: chain
    steps:
      - name: draft
        model: small
        template: "{question}"
      - name: last
        STEP
"""


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            'template: "{steps.drat} {question}"',
            "no {steps.drat} at this step; there are: {question}, {steps.draft} (text in braces",
        ),
        ('template: "{answer}"', "c.yaml:11: ensembles.blog.steps[1].template: no {answer} at"),
        ('template: "{steps.last}"', "steps[1].template: no {steps.last} at this step"),
        ('{name: draft, template: "x"}', "is not valid"),
        (
            'template: "x"\n        task: cooking',
            "c.yaml:12: ensembles.blog.steps[1].task: input should be 'code', 'analysis'",
        ),
        (
            'template: "x"\n        task: code\n        model: small',
            "c.yaml:12: ensembles.blog.steps[1].task: the step names a model already",
        ),
        (
            'template: "x"\n        model: nobody',
            "c.yaml:12: ensembles.blog.steps[1].model: no model 'nobody'; there are: small",
        ),
    ],
)
def test_mistakes_are_told_where_they_are(tmp_path: Path, step: str, told: str) -> None:
    text = CONFIG.replace("STEP", step)
    if step.startswith("{"):
        text = CONFIG.replace("- name: last\n        STEP", f"- {step}")
        told = "c.yaml:10: ensembles.blog.steps[1].name: there is a step 'draft' already"
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        config_file.load(file)
    assert told in str(raised.value)


def test_other_braces_are_text() -> None:
    json = '{"a": {"b": []}} {} {1} { question }'
    run = run_of(of({"name": "x", "template": json}))
    assert prompts(run) == [json]
