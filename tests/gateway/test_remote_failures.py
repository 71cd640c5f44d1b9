"""What goes wrong at providers, and what clients see of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.fakes.clouds import FakeCloud
from tests.fakes.running import FakeEngine
from tests.gateway import far
from tests.gateway.far import VARIABLE, claude, gpt
from tests.gateway.house import CHAT, House

Sdk = Callable[..., openai.OpenAI]
Claude = Callable[..., anthropic.Anthropic]
Http = Callable[..., httpx.Client]
Open = Callable[..., House]
HI: Any = [{"role": "user", "content": "hi"}]
# A request moves to the next model within it: a second on a quiet box, and no timeout on any.
SWITCH_S = 5.0


def chat(client: httpx.Client, model: str, **more: Any) -> httpx.Response:
    return client.post(CHAT, json={"model": model, "messages": HI, "max_tokens": 9} | more)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


# One provider, and nobody to stand in


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("which", [0, 1])
def test_our_key_being_refused_is_not_the_clients_fault(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, http: Http, status: int, which: int
) -> None:
    clouds[which].fault(status=status)
    answer = chat(http(open_house({"m": (gpt, claude)[which](clouds[which])})), "m")
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["src"]) == (502, "upstream_auth", "engine")
    assert error["message"] == (
        f"the provider of model 'm' refused Roundhouse's own key (of {VARIABLE}) with HTTP {status}"
    )


def test_the_key_is_in_no_answer_and_no_log(
    clouds: tuple[FakeCloud, FakeCloud],
    open_house: Open,
    http: Http,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = "sk-another-key-0123456789"
    monkeypatch.setenv(VARIABLE, wrong)
    caplog.set_level("DEBUG")
    house = open_house({"gpt": gpt(clouds[0]), "claude": claude(clouds[1])})
    client = http(house)
    told = [chat(client, model).text for model in ("gpt", "claude")]
    told += [client.get(path).text for path in ("/admin/replicas", "/metrics", "/v1/models")]
    assert all("upstream_auth" in text for text in told[:2])
    assert [each.seen()[-1]["path"] for each in clouds] == [CHAT, "/v1/messages"]
    assert wrong[:12] not in "".join(told) + caplog.text


def test_a_limit_is_passed_on_with_its_pause_and_kept(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, http: Http
) -> None:
    clouds[0].fault(status=429, retry_after=30)
    client = http(open_house({"m": gpt(clouds[0])}))
    first = chat(client, "m")
    assert (first.status_code, first.headers["retry-after"]) == (429, "30")
    assert error_of(first)["code"] == "rate_limit_exceeded"
    second = chat(client, "m")
    assert (second.status_code, error_of(second)["src"]) == (429, "router")
    assert 28 <= int(second.headers["retry-after"]) <= 30
    assert len(clouds[0].seen()) == 1


def test_a_pause_ends(clouds: tuple[FakeCloud, FakeCloud], open_house: Open, http: Http) -> None:
    clouds[0].fault(status=429, retry_after=0.3)
    client = http(open_house({"m": gpt(clouds[0])}, router={"retry": {"max": 0}}))
    assert chat(client, "m").status_code == 429
    assert chat(client, "m").status_code == 429
    time.sleep(0.35)
    assert chat(client, "m").status_code == 200
    assert len(clouds[0].seen()) == 2


def test_a_short_pause_is_waited_for(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, http: Http
) -> None:
    clouds[0].fault(status=429, retry_after=0.2)
    answer = chat(http(open_house({"m": gpt(clouds[0])})), "m")
    assert (answer.status_code, answer.headers["x-roundhouse-attempts"]) == (200, "2")


def test_another_url_is_asked_during_a_pause(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, http: Http
) -> None:
    entry = gpt(clouds[0])
    with FakeCloud("openai") as spare:
        entry["source"] = [entry["source"], f"{spare.url}/v1"]
        clouds[0].fault(status=429, retry_after=30)
        client = http(open_house({"m": entry}, router={"policy": "round_robin"}))
        assert [chat(client, "m").status_code for _ in range(4)] == [200] * 4
        assert len(clouds[0].seen()) == 1


def test_an_overloaded_claude_is_503_in_openais_words(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, sdk: Sdk
) -> None:
    clouds[1].fault(status=529)
    with pytest.raises(openai.InternalServerError) as caught:
        sdk(open_house({"m": claude(clouds[1])})).chat.completions.create(model="m", messages=HI)
    assert (caught.value.status_code, caught.value.code) == (503, "overloaded_error")


def test_it_stays_529_in_anthropics(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, claude: Claude
) -> None:
    clouds[1].fault(status=529)
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude(open_house({"m": far.claude(clouds[1])})).messages.create(
            model="m", max_tokens=9, messages=HI
        )
    assert caught.value.status_code == 529


def test_a_bad_request_is_the_clients(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, sdk: Sdk
) -> None:
    house = open_house({"gpt": gpt(clouds[0]), "claude": claude(clouds[1])})
    client = sdk(house).chat.completions
    with pytest.raises(openai.BadRequestError, match="argument supplied: frob"):
        client.create(model="gpt", messages=HI, extra_body={"frob": 1})
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "x"}}}
    with pytest.raises(openai.BadRequestError, match=r"tools\.0\.input_schema"):
        client.create(model="claude", messages=HI, tools=[tool])


# Streams that break


@pytest.mark.parametrize("which", [0, 1])
def test_a_stream_that_is_cut_ends_in_an_error(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, sdk: Sdk, which: int
) -> None:
    clouds[which].fault(kind="cut_stream")
    house = open_house({"m": (gpt, claude)[which](clouds[which])})
    with pytest.raises(openai.APIError, match="broke off its answer"):
        list(sdk(house).chat.completions.create(model="m", messages=HI, stream=True))


def test_an_error_within_claudes_stream_is_told(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, sdk: Sdk
) -> None:
    clouds[1].fault(kind="error_event")
    house = open_house({"m": claude(clouds[1])})
    with pytest.raises(openai.APIError, match="overloaded_error: Overloaded"):
        list(sdk(house).chat.completions.create(model="m", messages=HI, stream=True))


def test_an_error_before_the_first_word_is_mended_by_another_model(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Open, http: Http
) -> None:
    clouds[1].fault(kind="overloaded_first")
    models = {"c": claude(clouds[1]), "g": gpt(clouds[0])}
    answer = chat(http(open_house(models, router={"fallbacks": {"c": ["g"]}})), "c", stream=True)
    assert (answer.status_code, answer.headers["x-roundhouse-model"]) == (200, "g")


# A model here, then OpenAI, then Claude


@pytest.fixture
def local() -> Iterator[FakeEngine]:
    with FakeEngine(model=["here"]) as engine:
        yield engine


@pytest.fixture
def chain(local: FakeEngine, clouds: tuple[FakeCloud, FakeCloud], open_house: Open) -> House:
    models = {
        "here": {"engine": "openai", "source": local.url},
        "gpt": gpt(clouds[0]),
        "claude": claude(clouds[1]),
    }
    return open_house(models, router={"fallbacks": {"here": ["gpt", "claude"]}})


def fail_local(local: FakeEngine, how: str) -> None:
    if how == "connection":
        local.kill()
    else:
        local.behave(mode="status", status=429 if how == "limit" else 500)


def fail_cloud(cloud: FakeCloud, how: str) -> None:
    faults: dict[str, dict[str, Any]] = {
        "limit": {"status": 429, "retry_after": 1},
        "500": {"status": 500},
        "connection": {"kind": "drop"},
    }
    cloud.fault(**faults[how], times=9)


def test_while_all_are_well_the_first_answers(
    chain: House, clouds: tuple[FakeCloud, FakeCloud], http: Http
) -> None:
    assert chat(http(chain), "here").headers["x-roundhouse-model"] == "here"
    assert [cloud.seen() for cloud in clouds] == [[], []]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["limit", "connection", "500"])
def test_openai_stands_in(
    chain: House, local: FakeEngine, http: Http, how: str, stream: bool
) -> None:
    fail_local(local, how)
    client, began = http(chain), time.monotonic()
    answer = chat(client, "here", stream=stream)
    took_s = time.monotonic() - began
    assert (answer.status_code, answer.headers["x-roundhouse-model"]) == (200, "gpt")
    assert "fallback from here" in answer.headers["x-roundhouse-route"]
    assert took_s < SWITCH_S


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("second", ["limit", "connection", "500"])
@pytest.mark.parametrize("first", ["limit", "connection", "500"])
def test_claude_stands_in_when_openai_fails_too(
    chain: House,
    local: FakeEngine,
    clouds: tuple[FakeCloud, FakeCloud],
    http: Http,
    first: str,
    second: str,
    stream: bool,
) -> None:
    fail_local(local, first)
    fail_cloud(clouds[0], second)
    client, began = http(chain), time.monotonic()
    answer = chat(client, "here", stream=stream)
    took_s = time.monotonic() - began
    assert (answer.status_code, answer.headers["x-roundhouse-model"]) == (200, "claude")
    assert "hi" in answer.text
    assert took_s < SWITCH_S


def test_a_refused_key_is_stood_in_for_too(
    chain: House, local: FakeEngine, clouds: tuple[FakeCloud, FakeCloud], http: Http
) -> None:
    fail_local(local, "500")
    clouds[0].fault(status=401, times=9)
    assert chat(http(chain), "here").headers["x-roundhouse-model"] == "claude"


def test_when_all_fail_the_first_failure_is_told(
    chain: House, local: FakeEngine, clouds: tuple[FakeCloud, FakeCloud], http: Http
) -> None:
    fail_local(local, "500")
    fail_cloud(clouds[0], "500")
    clouds[1].fault(status=529, times=9)
    answer = chat(http(chain), "here")
    assert (answer.status_code, error_of(answer)["src"]) == (502, "engine")
    assert "here-0" in error_of(answer)["message"]
