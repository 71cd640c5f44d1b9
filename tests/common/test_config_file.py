"""Reading a config: what wins over what, and that every message says where and what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config import Config
from common.config_file import keys_at, load, merge
from common.errors import ConfigError

MODEL = "models: {m: {source: a/b}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "house.yaml"


def refusal(file: Path, text: str, flags: dict[str, Any] | None = None) -> str:
    """The message for a file, without the folder that it lies in."""
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file, flags)
    return refused.value.message.replace(f"{file.parent}/", "")


def test_a_whole_file(file: Path) -> None:
    file.write_text("""
server:
  port: 9000
  drain_timeout: 1m
models:
  small:
    source: embedded:smollm2
    placement: {replicas: 2}
  far:
    engine: openai
    source: [http://a/v1, http://b/v1]
router: {policy: round_robin}
""")
    config = load(file)
    assert (config.server.port, config.server.drain_timeout_s) == (9000, 60.0)
    assert list(config.models) == ["small", "far"]
    assert config.models["small"].placement.replicas == 2
    assert config.router.policy == "round_robin"


def test_without_a_file_flags_are_enough() -> None:
    assert list(load(None, {"models": {"m": {"source": "a/b"}}}).models) == ["m"]


# What is wrong, and where


UNKNOWN = [
    (
        "modells: {}\n" + MODEL,
        (
            "house.yaml:1: modells: unknown key; did you mean 'models'? "
            "(allowed: version, server, gpu, defaults, models, model_dirs, ollama, lifecycle, "
            "router, ensembles)"
        ),
    ),
    (
        "models:\n  m:\n    source: a/b\n    max_modle_len: 5\n",
        (
            "house.yaml:4: models.m.max_modle_len: unknown key; did you mean 'max_model_len'? "
            "(allowed: tasks, quality, cost_per_million_tokens, modalities, tools, source, engine, "
            "placement, max_model_len, dtype, quantization, aliases, max_in_flight, engine_args, "
            "remote, price, base_url, keep_alive, pinned, load, pull)"
        ),
    ),
    (
        "server:\n  prot: 1\n" + MODEL,
        (
            "house.yaml:2: server.prot: unknown key; did you mean 'port'? (allowed: host, port, "
            "api_keys, drain_timeout, max_queued, queue_timeout, max_body_mib)"
        ),
    ),
    (
        "models:\n  a.b/c:\n    source: a/b\n    placement:\n      replica: 2\n",
        (
            "house.yaml:5: models.a.b/c.placement.replica: unknown key; did you mean 'replicas'? "
            "(allowed: tp, pp, replicas, gpus)"
        ),
    ),
    (
        MODEL + "router:\n  breaker:\n    often: 3\n",
        (
            "house.yaml:4: router.breaker.often: unknown key; did you mean 'open'? "
            "(allowed: failures, open, successes)"
        ),
    ),
]


@pytest.mark.parametrize(("text", "said"), UNKNOWN)
def test_unknown_keys(file: Path, text: str, said: str) -> None:
    assert refusal(file, text) == said


WRONG = [
    ("version: 2\n" + MODEL, "house.yaml:1: version: input should be 1, not 2"),
    (
        "server:\n  host: localhost\n  port: eighty\n" + MODEL,
        (
            "house.yaml:3: server.port: input should be a valid integer, unable to parse string as "
            "an integer, not 'eighty'"
        ),
    ),
    (
        "server:\n  port: 99999\n" + MODEL,
        "house.yaml:2: server.port: input should be less than or equal to 65535, not 99999",
    ),
    (
        "models:\n  m:\n    source: a/b\n    engine: vlm\n",
        (
            "house.yaml:4: models.m.engine: input should be 'vllm', 'llamacpp', 'mlx', 'ollama', "
            "'openai' or 'anthropic', not 'vlm'"
        ),
    ),
    (
        MODEL + "router:\n  policy: random\n",
        (
            "house.yaml:3: router.policy: input should be 'prefix_aware', 'least_loaded', "
            "'power_of_two', 'round_robin' or 'session', not 'random'"
        ),
    ),
    (
        "defaults:\n  load_timeout: soon\n" + MODEL,
        (
            "house.yaml:2: defaults.load_timeout: 'soon' is not a duration; write seconds or "
            '"90s", "10m", "1h30m"'
        ),
    ),
    ("models:\n  m:\n    engine: vllm\n", "house.yaml:2: models.m.source: is missing"),
    ("server: {port: 1}\n", "house.yaml:1: models: is missing"),
    ("", "house.yaml: models: is missing"),
    ("# nothing but words\n", "house.yaml: models: is missing"),
    (
        "models:\n  m: a/b\n",
        (
            "house.yaml:2: models.m: input should be a valid dictionary or instance of "
            "ModelConfig, not 'a/b'"
        ),
    ),
    (
        "models:\n  m:\n    source: a/b\n    aliases: [ok, 7]\n",
        "house.yaml:4: models.m.aliases[1]: input should be a valid string, not 7",
    ),
    (
        "models:\n  m:\n    source: a/b\n    aliases:\n      - ok\n      - 7\n",
        "house.yaml:6: models.m.aliases[1]: input should be a valid string, not 7",
    ),
    (
        "server:\n  port: 8000\n  host: 0.0.0.0\n" + MODEL,
        (
            "house.yaml:3: server.host: '0.0.0.0' can be reached from other machines, so api_keys "
            "must hold at least one key (or listen on 127.0.0.1)"
        ),
    ),
    (
        "models:\n  m:\n    source: a/b\n    placement:\n      tp: 2\n      gpus: [0]\n",
        "house.yaml:6: models.m.placement.gpus: names 1 GPUs, but tp 2 x pp 1 x 1 replicas need 2",
    ),
    (
        "models:\n  m: {source: a/b, aliases: [x]}\n  n:\n    source: a/b\n    aliases: [x]\n",
        "house.yaml:5: models.n.aliases: 'x' is a name of 'm' already",
    ),
    (
        "models:\n  m: {source: a/b}\n  n:\n    source: http://a\n",
        "house.yaml:4: models.n.source: engine vllm takes one model, not URLs",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_wrong_values(file: Path, text: str, said: str) -> None:
    assert refusal(file, text) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "placement: manual",
            [
                "placement: input should be 'auto', not 'manual'",
                (
                    "placement: input should be a valid dictionary or instance of PlacementConfig, "
                    "not 'manual'"
                ),
            ],
        ),
        ("placement: {tp: 0}", ["placement.tp: input should be greater than or equal to 1, not 0"]),
        ("placement: {tpp: 2}", ["placement.tpp: unknown key; did you mean 'tp'? (allowed: tp, "]),
        (
            "max_model_len: 0",
            [
                "max_model_len: input should be greater than or equal to 1, not 0",
                "max_model_len: input should be 'auto', not 0",
            ],
        ),
    ],
)
def test_each_way_that_a_value_could_have_been_is_told(
    file: Path, line: str, said: list[str]
) -> None:
    found = refusal(file, f"models:\n  m:\n    source: a/b\n    {line}\n").split("\n")
    assert len(found) == len(said)
    for one, expected in zip(found, said, strict=True):
        assert one.startswith(f"house.yaml:4: models.m.{expected}")


def test_every_problem_is_told_at_once(file: Path) -> None:
    text = "server:\n  port: x\n  prot: 1\nmodels:\n  m:\n    source: a/b\n    engine: q\n"
    places = [line.split(": ")[:2] for line in refusal(file, text).split("\n")]
    assert places == [
        ["house.yaml:2", "server.port"],
        ["house.yaml:3", "server.prot"],
        ["house.yaml:7", "models.m.engine"],
    ]


def test_keys_are_not_printed(file: Path) -> None:
    for value in ("[abc]", "secret-secret", "[12345678901]", "{a: secret-secret}"):
        said = refusal(file, f"server:\n  api_keys: {value}\n{MODEL}")
        assert said.startswith("house.yaml:2: server.api_keys")
        assert "secret" not in said
        assert "abc" not in said
        assert "1234" not in said


# Files that are no config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models:\n  m: {source: a/b}\n  m: {source: a/c}\n",
            "house.yaml:3: models.m stands twice",
        ),
        (
            "models:\n  m:\n    source: a/b\n    aliases: []\n    source: a/c\n",
            "house.yaml:5: models.m.source stands twice",
        ),
        ("models:\n  m: {source: a/b\nserver: x\n", "house.yaml:3: not valid YAML: expected ',' "),
        ("models:\n\tm: 1\n", "house.yaml:2: not valid YAML: found character '\\t'"),
        ("a: 1\nb: !!python/object:os.system x\n", "house.yaml:2: not valid YAML: could not"),
        ("models: {}\n---\nserver: {}\n", "house.yaml:2: not valid YAML: but found another"),
        ("models: \x00\n", "house.yaml: not valid YAML: unacceptable character #x0000"),
        ("models: &a\n  m: *a\n", "house.yaml: nested too deep, or an anchor within itself"),
        (
            "- a\n",
            "house.yaml:1: must be a mapping with keys version, server, gpu, defaults",
        ),
        ("just words\n", "house.yaml:1: must be a mapping with keys version, server"),
        ("models:\n  7: {source: a/b}\n", "house.yaml:2: models.7: YAML takes this key for somet"),
        (
            "models:\n  true: {source: a/b}\n",
            "house.yaml:2: models.true: YAML takes this key for som",
        ),
    ],
)
def test_files_that_are_no_config(file: Path, text: str, said: str) -> None:
    assert refusal(file, text).startswith(said)


def test_yamls_own_short_cuts_work(file: Path) -> None:
    file.write_text("""
models:
  m: &base {source: a/b, max_in_flight: 3}
  n: *base
  o: {<<: *base, dtype: float16}
  "7": {source: a/b}
""")
    config = load(file)
    assert [config.max_in_flight_of(name) for name in "mno"] == [3, 3, 3]
    assert config.models["o"].dtype == "float16"
    assert "7" in config.models


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file$"):
        load(tmp_path / "none.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": cannot be read: .*[Dd]irectory"):
        load(tmp_path)


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"models: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"house\.yaml: cannot be read: 'utf-8' codec"):
        load(file)


# The environment within the file


def test_references_to_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "long-enough")
    monkeypatch.setenv("WHERE", "some")
    file.write_text(
        "server: {api_keys: ['${env.MY_KEY}', 'x${env.MY_KEY}-${env.WHERE}']}\n"
        "models: {m: {source: '${env.WHERE}/b'}}\n"
    )
    config = load(file)
    assert config.server.api_keys == ("long-enough", "xlong-enough-some")
    assert config.models["m"].source == "some/b"


@pytest.mark.parametrize("value", [None, ""])
def test_a_reference_to_nothing_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("MISSING", value)
    said = refusal(file, "server:\n  api_keys:\n    - '${env.MISSING}'\n" + MODEL)
    assert said == ("house.yaml:3: server.api_keys[0]: the environment variable MISSING is not set")


def test_what_only_looks_like_a_reference_stays(file: Path) -> None:
    file.write_text(
        "models: {m: {source: a/b, engine_args: {x: '$HOME ${env.} {env.A} $env.B'}}}\n"
    )
    assert load(file).models["m"].engine_args == {"x": "$HOME ${env.} {env.A} $env.B"}


# The environment over the file, flags over both


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("ROUNDHOUSE_SERVER__PORT", "9000", lambda c: c.server.port == 9000),
        ("roundhouse_server__port", "9000", lambda c: c.server.port == 9000),
        ("ROUNDHOUSE_SERVER", '{"port": 9000}', lambda c: c.server.port == 9000),
        ("ROUNDHOUSE_DEFAULTS__LOAD_TIMEOUT", "20m", lambda c: c.defaults.load_timeout_s == 1200),
        ("ROUNDHOUSE_DEFAULTS__MAX_IN_FLIGHT", "7", lambda c: c.max_in_flight_of("m") == 7),
        ("ROUNDHOUSE_ROUTER__RETRY__MAX", "0", lambda c: c.router.retry.max == 0),
        (
            "ROUNDHOUSE_SERVER__API_KEYS",
            '["long-enough"]',
            lambda c: c.server.api_keys == ("long-enough",),
        ),
        ("ROUNDHOUSE_MODELS__M__DTYPE", "float16", lambda c: c.models["m"].dtype == "float16"),
        (
            "ROUNDHOUSE_MODELS__M__PLACEMENT__REPLICAS",
            "2",
            lambda c: getattr(c.models["m"].placement, "replicas", 1) == 2,
        ),
        ("ROUNDHOUSE_MODELS", '{"n": {"source": "c/d"}}', lambda c: list(c.models) == ["m", "n"]),
    ],
)
def test_the_environment_wins_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: Any
) -> None:
    file.write_text("server: {port: 7000}\n" + MODEL)
    assert not read(load(file))
    monkeypatch.setenv(name, value)
    assert read(load(file))


def test_flags_win_over_the_environment_key_by_key(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("server: {port: 1, host: localhost, max_queued: 3}\n" + MODEL)
    monkeypatch.setenv("ROUNDHOUSE_SERVER__PORT", "2")
    monkeypatch.setenv("ROUNDHOUSE_SERVER__HOST", "127.0.0.2")
    server = load(file, {"server": {"port": 4}}).server
    assert (server.port, server.host, server.max_queued) == (4, "127.0.0.2", 3)


def test_other_variables_of_that_name_do_not_matter(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(MODEL)
    monkeypatch.setenv("ROUNDHOUSE_OWNER", "1:2.00")
    monkeypatch.setenv("ROUNDHOUSE_API_KEY", "long-enough")
    assert load(file) == Config.model_validate({"models": {"m": {"source": "a/b"}}})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "ROUNDHOUSE_SERVER__PORT",
            "x",
            (
                "environment variable ROUNDHOUSE_SERVER__PORT: server.port: input should be a "
                "valid integer, unable to parse string as an integer, not 'x'"
            ),
        ),
        (
            "ROUNDHOUSE_SERVER__PROT",
            "1",
            (
                "environment variable ROUNDHOUSE_SERVER__PROT: server.prot: unknown key; did you "
                "mean 'port'? (allowed: host, port, api_keys, drain_timeout, max_queued, "
                "queue_timeout, max_body_mib)"
            ),
        ),
        (
            "ROUNDHOUSE_SERVER__HOST",
            "0.0.0.0",
            (
                "environment variable ROUNDHOUSE_SERVER__HOST: server.host: '0.0.0.0' can be "
                "reached from other machines, so api_keys must hold at least one key "
                "(or listen on 127.0.0.1)"
            ),
        ),
        (
            "ROUNDHOUSE_MODELS__M__DTYPE",
            "float17",
            (
                "environment variable ROUNDHOUSE_MODELS__M__DTYPE: models.m.dtype: input should be "
                "'auto', 'bfloat16', 'float16' or 'float32', not 'float17'"
            ),
        ),
        (
            "ROUNDHOUSE_SERVER__API_KEYS",
            "not-json-at-all",
            "environment: ROUNDHOUSE_SERVER__API_KEYS: lists and mappings must be valid JSON",
        ),
        (
            "ROUNDHOUSE_SERVER__API_KEYS",
            '["abc"]',
            (
                "environment variable ROUNDHOUSE_SERVER__API_KEYS: server.api_keys: a key needs at "
                "least 8 characters"
            ),
        ),
    ],
)
def test_a_wrong_variable_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal(file, MODEL) == said


def test_a_wrong_flag_is_named(file: Path) -> None:
    said = refusal(file, MODEL, {"server": {"port": 99999}})
    assert (
        said == "command line: server.port: input should be less than or equal to 65535, not 99999"
    )


def test_the_file_is_blamed_for_its_own_host_whatever_else_is_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_SERVER__PORT", "9000")
    said = refusal(file, MODEL + "server:\n  host: 0.0.0.0\n", {"server": {"max_queued": 1}})
    assert said.startswith("house.yaml:3: server.host: '0.0.0.0' can be reached")


# Parts


def test_merging_replaces_lists_and_leaves_its_sources_alone() -> None:
    low = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    high = {"a": {"c": [3]}, "e": {"f": 2}}
    assert merge(low, high) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": {"f": 2}}
    assert low == {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge({"a": "auto"}, {"a": {"b": 1}}) == {"a": {"b": 1}}
    assert merge({"a": {"b": 1}}, {"a": "auto"}) == {"a": "auto"}


@pytest.mark.parametrize(
    ("at", "keys"),
    [
        (
            (),
            [
                *("version", "server", "gpu", "defaults", "models", "model_dirs", "ollama"),
                *("lifecycle", "router", "ensembles"),
            ],
        ),
        (("models", "any", "placement"), ["tp", "pp", "replicas", "gpus"]),
        (("router", "breaker"), ["failures", "open", "successes"]),
        (("models",), []),
        (("nowhere", "at", "all"), []),
    ],
)
def test_the_keys_of_a_place(at: tuple[str, ...], keys: list[str]) -> None:
    assert keys_at(at) == keys


def test_on_is_a_key_and_no_truth_value(file: Path) -> None:
    file.write_text(MODEL + "router:\n  retry: {on: [timeout]}\n  hedge: {enabled: true}\n")
    router = load(file).router
    assert router.retry.on == ("timeout",)
    assert router.hedge.enabled
