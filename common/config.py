"""The config: what `models:`, `server:` and the rest may say. Reading files is config_file.py's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from common.ensemble_section import EnsembleLimits
from common.ensembles_config import EnsembleConfig, check_ensembles
from common.keep_alive import KeepAlive, KeepAliveValue
from common.ollama_config import OllamaConfig, OllamaUrl, check_ollama_source
from common.ollama_names import PREFIX as OLLAMA_PREFIX
from common.quality_config import ModelQuality, RouterQuality
from common.remote_config import (
    REMOTE_ENGINES,
    PriceConfig,
    RemoteConfig,
    remote_source_problem,
)
from common.routing_config import (
    BreakerConfig,
    FallbackConfig,
    Fallbacks,
    HedgeConfig,
    ResumeConfig,
    RetryConfig,
    check_fallbacks,
)
from common.section import Section
from common.units import Duration

EngineName = Literal["vllm", "llamacpp", "mlx", "ollama", "openai", "anthropic"]
PolicyName = Literal["prefix_aware", "least_loaded", "power_of_two", "round_robin", "session"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_REMOTE = re.compile(r"https?://[^\s]+")
_ONLY_OLLAMAS = ("base_url", "pull")
_NOT_OLLAMAS = (
    *("placement", "max_model_len", "dtype", "quantization", "engine_args"),
    *("pinned", "load"),
)
_NOT_REMOTE = ("keep_alive", "pinned", "load")
_GGUF = re.compile(
    r"embedded:[^\s]+-gguf|(?!https?://).+\.gguf"
    r"|[A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w./-]+)?:[\w.+/-]+"  # owner/name:Q4_K_M
)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def no_name(name: str) -> str:
    return f"{name!r} is no name for a model; letters, digits and . _ : / @ + - are allowed"


class ServerConfig(Section):
    """Where the endpoint listens, and what it lets in."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; another than loopback needs api_keys."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    api_keys: tuple[str, ...] = Field(
        (),
        description='Accepted keys, as Bearer or x-api-key; "${env.NAME}" reads the environment.',
    )
    drain_timeout_s: Duration = Field(
        30.0,
        alias="drain_timeout",
        description="On SIGTERM, how long accepted requests may finish.",
    )
    max_queued: Annotated[int, Field(ge=0)] = Field(
        1024, description="Requests a model may have waiting for a free slot; past it, 429."
    )
    queue_timeout_s: Duration = Field(
        120.0,
        alias="queue_timeout",
        description="How long a request may wait for a slot; past it, 503.",
    )
    max_body_mib: Annotated[int, Field(ge=1)] = Field(
        64, description="Largest request body; past it, 413."
    )

    @field_validator("api_keys")
    @classmethod
    def _keys_are_long_enough(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < 8 for key in keys):
            raise ValueError("a key needs at least 8 characters")
        return keys

    @model_validator(mode="after")
    def _other_hosts_need_keys(self) -> Self:
        if not is_loopback(self.host) and not self.api_keys:
            raise ValueError(
                f"host: {self.host!r} can be reached from other machines, so api_keys must hold "
                "at least one key (or listen on 127.0.0.1)"
            )
        return self


class PlacementConfig(Section):
    """How many copies of a model run, and over which GPUs each of them spans."""

    tp: Annotated[int, Field(ge=1)] = Field(1, description="Tensor parallel size of one replica.")
    pp: Annotated[int, Field(ge=1)] = Field(1, description="Pipeline parallel size of one replica.")
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    gpus: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="GPU indices to use, in order; replica 0 gets the first tp*pp of them."
    )

    @model_validator(mode="after")
    def _gpus_suffice(self) -> Self:
        needed = self.tp * self.pp * self.replicas
        if self.gpus is not None and len(self.gpus) != needed:
            raise ValueError(
                f"gpus: names {len(self.gpus)} GPUs, but tp {self.tp} x pp {self.pp} x "
                f"{self.replicas} replicas need {needed}"
            )
        if self.gpus is not None and len(set(self.gpus)) != len(self.gpus):
            raise ValueError("gpus: names a GPU twice")
        return self


class GpuConfig(Section):
    """Which GPUs may be used, and how much of each stays free."""

    reserve_gib: Annotated[float, Field(ge=0, le=1024)] = Field(
        1.0, description="GiB of each GPU that no engine is given."
    )
    devices: Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        "all", description="Indices of the GPUs to use, as `roundhouse gpus` numbers them."
    )


class EngineDefaults(Section):
    """What holds for every model that does not say otherwise."""

    engine: EngineName = "vllm"
    load_timeout_s: Duration = Field(
        600.0, alias="load_timeout", description="From start to ready; past it the load has failed."
    )
    first_token_timeout_s: Duration = Field(
        300.0,
        alias="first_token_timeout",
        description="To the first byte of an answer; past it another replica is tried, or 504.",
    )
    stall_timeout_s: Duration = Field(
        120.0,
        alias="stall_timeout",
        description="Silence within a stream, or an engine that does not react; past it, given up.",
    )
    max_in_flight: Annotated[int, Field(ge=1)] = Field(
        256, description="Requests one replica works on at once; more wait in the queue."
    )
    keep_alive: KeepAliveValue = Field(
        -1,
        validate_default=True,
        description="How long a model that is loaded here stays so after its last request. "
        "Default: for ever, but for another model that needs its room.",
    )


class LifecycleConfig(Section):
    """Models that take turns: how long one may be put off for others that are loaded."""

    max_swaps: Annotated[int, Field(ge=0)] = Field(
        4, description="Loads that may begin for requests that came later."
    )
    max_wait_s: Duration = Field(
        30.0,
        alias="max_wait",
        description="From then on a busy model in the way gets no new requests.",
    )


class ModelConfig(ModelQuality):
    """One entry of `models:`, under the name that clients use."""

    source: str | tuple[str, ...] = Field(
        description="Hub id (owner/name, with @REVISION), folder, .gguf file (of a hub: "
        "owner/name:Q4_K_M or owner/name:FILE.gguf), embedded:NAME, or for a remote engine its "
        "URL(s) or a provider's name, such as openrouter."
    )
    engine: EngineName | None = Field(
        None, description="Default: llamacpp for a GGUF model, else defaults.engine."
    )
    placement: Literal["auto"] | PlacementConfig = "auto"
    max_model_len: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantization: str | None = Field(
        None, description="A method that the engine knows, such as fp8."
    )
    aliases: tuple[str, ...] = Field((), description="Other names that clients may use.")
    max_in_flight: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Default: defaults.max_in_flight."
    )
    engine_args: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the engine as they are, checked by name."
    )

    remote: RemoteConfig | None = Field(
        None, description="For engines openai and anthropic: key, name there, headers."
    )
    price: PriceConfig | None = Field(
        None, description="For engines openai and anthropic: in place of the published price."
    )
    base_url: OllamaUrl | None = Field(
        None, description="For engine ollama: its server; default: ollama.base_url."
    )
    keep_alive: KeepAliveValue | None = Field(
        None,
        description="How long the model stays loaded after its last request, such as "
        '"10m"; -1 for ever, 0 not at all. Default: defaults.keep_alive, or ollama.keep_alive.',
    )
    pinned: bool = Field(
        default=False, description="Never unloaded, neither for another model nor by keep_alive."
    )
    load: Literal["start", "on_demand"] = Field(
        "start", description="When it is loaded: at the start, or for its first request."
    )
    pull: bool | None = Field(
        None, description="For engine ollama: fetch it at the start. Default: ollama.pull."
    )

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source

    @field_validator("aliases")
    @classmethod
    def _aliases_are_names(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        for alias in aliases:
            if not _NAME.fullmatch(alias):
                raise ValueError(no_name(alias))
        return aliases


class RouterConfig(RouterQuality):
    """How requests find a model and a replica, and what happens when one fails."""

    policy: PolicyName = Field("prefix_aware", description="How a replica is picked.")
    retry: RetryConfig = RetryConfig()
    fallbacks: Fallbacks = Field(
        default_factory=dict, description="By model: others that may answer for it, in order."
    )
    fallback: FallbackConfig = FallbackConfig()
    breaker: BreakerConfig = BreakerConfig()
    hedge: HedgeConfig = HedgeConfig()
    resume: ResumeConfig = ResumeConfig()
    ensembles: EnsembleLimits = EnsembleLimits()


def _models_unless_discovered(schema: dict[str, Any]) -> None:
    """At least one model, but with `ollama.discover`: as validators below have it."""
    schema.pop("required")
    discovers = {"properties": {"discover": {"const": True}}, "required": ["discover"]}
    schema["if"] = {"properties": {"ollama": discovers}, "required": ["ollama"]}
    schema["else"] = {"required": ["models"], "properties": {"models": {"minProperties": 1}}}


class Config(Section):
    """The whole file."""

    model_config = ConfigDict(json_schema_extra=_models_unless_discovered)

    version: Literal[1] = 1
    server: ServerConfig = ServerConfig()
    gpu: GpuConfig = GpuConfig()
    defaults: EngineDefaults = EngineDefaults()
    models: dict[str, ModelConfig] = Field(description="May be empty with ollama.discover.")
    model_dirs: tuple[str, ...] = Field(
        (), description="Folders with GGUF files; `roundhouse list --available` looks there too."
    )
    ollama: OllamaConfig = OllamaConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    router: RouterConfig = RouterConfig()
    ensembles: dict[str, EnsembleConfig] = Field(
        default_factory=dict, description="By name: several models, or samples, for one answer."
    )

    @model_validator(mode="before")
    @classmethod
    def _discovered_models_need_no_entry(cls, data: Any) -> Any:
        ollama = data.get("ollama") if isinstance(data, dict) else None
        if isinstance(ollama, dict) and ollama.get("discover"):
            return {"models": {}, **data}
        return data

    @model_validator(mode="after")
    def _there_are_models(self) -> Self:
        if not self.models and not self.ollama.discover:
            raise ValueError("models: should have at least 1 item (or set ollama.discover)")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        owners: dict[str, str] = {}
        for name, model in self.models.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"models.{name}: {no_name(name)}")
            if name in owners:
                raise ValueError(f"models.{name}: {name!r} is an alias of {owners[name]!r} already")
            owners[name] = name
            for alias in model.aliases:
                if alias in owners:
                    raise ValueError(
                        f"models.{name}.aliases: {alias!r} is a name of {owners[alias]!r} already"
                    )
                owners[alias] = name
        return self

    @model_validator(mode="after")
    def _sources_fit_engines(self) -> Self:
        for name in self.models:
            check_source(name, self.models[name], self.engine_of(name))
        return self

    @model_validator(mode="after")
    def _fallbacks_are_models(self) -> Self:
        check_fallbacks(self.router.fallbacks, self.models)
        return self

    @model_validator(mode="after")
    def _ensembles_can_be(self) -> Self:
        aliases = (alias for model in self.models.values() for alias in model.aliases)
        check_ensembles(self.ensembles, (*self.models, *aliases), self.router.ensembles)
        return self

    @model_validator(mode="after")
    def _second_stage_is_a_model(self) -> Self:
        second = self.router.second_stage
        if second and second.model not in self.models:
            raise ValueError(
                f"router.second_stage.model: no model {second.model!r}; there are: "
                f"{', '.join(self.models)}"
            )
        return self

    def engine_of(self, model: str) -> EngineName:
        entry = self.models[model]
        if entry.engine is None and any(s.startswith(OLLAMA_PREFIX) for s in entry.sources):
            return "ollama"
        gguf = any(_GGUF.fullmatch(source) for source in entry.sources)
        return entry.engine or ("llamacpp" if gguf else self.defaults.engine)

    def max_in_flight_of(self, model: str) -> int:
        return self.models[model].max_in_flight or self.defaults.max_in_flight

    def keep_alive_of(self, model: str) -> KeepAlive:
        """Of a model that is loaded here."""
        own = self.models[model].keep_alive
        return self.defaults.keep_alive if own is None else own


def check_source(name: str, model: ModelConfig, engine: EngineName) -> None:
    check_ollama_keys(name, model, engine)
    remote = [source for source in model.sources if _REMOTE.fullmatch(source)]
    if engine in REMOTE_ENGINES and (problem := remote_source_problem(engine, model.sources)):
        raise ValueError(f"models.{name}.source: {problem}")
    if engine not in REMOTE_ENGINES and (model.remote or model.price):
        raise ValueError(
            f"models.{name}: only engines openai and anthropic have remote and price, not {engine}"
        )
    if engine not in REMOTE_ENGINES and (remote or len(model.sources) != 1):
        raise ValueError(f"models.{name}.source: engine {engine} takes one model, not URLs")
    if engine in {"vllm", "mlx"} and any(_GGUF.fullmatch(source) for source in model.sources):
        raise ValueError(
            f"models.{name}.engine: {engine} does not load GGUF files here; leave it out, or set "
            "llamacpp"
        )
    if engine in REMOTE_ENGINES and (model.placement != "auto" or model.engine_args):
        raise ValueError(
            f"models.{name}: a remote engine has no placement and no engine_args; "
            "give several URLs for several replicas"
        )


def check_ollama_keys(name: str, model: ModelConfig, engine: EngineName) -> None:
    """Keys that only Ollama's models have, and those that its server decides by itself."""
    if engine == "ollama" and len(model.sources) == 1:  # check_source tells of more
        check_ollama_source(name, model.sources[0])
    if engine == "ollama" and (wrong := _first_set(model, _NOT_OLLAMAS)):
        hint = "its keep_alive: -1 loads a model at the start and keeps it"
        if wrong not in ("pinned", "load"):
            hint = "set it in the model's Modelfile or the server's own environment"
        raise ValueError(f"models.{name}.{wrong}: Ollama's server decides that; {hint}")
    if engine != "ollama" and (wrong := _first_set(model, _ONLY_OLLAMAS)):
        raise ValueError(f"models.{name}.{wrong}: only engine ollama has it, not {engine}")
    if engine in REMOTE_ENGINES and (wrong := _first_set(model, _NOT_REMOTE)):
        raise ValueError(
            f"models.{name}.{wrong}: a remote engine's models are not loaded here, so it has no "
            f"{wrong}"
        )


def _first_set(model: ModelConfig, keys: Iterable[str]) -> str | None:
    """The first of the keys that does not have its default."""
    fields = ModelConfig.model_fields
    return next(
        (k for k in keys if getattr(model, k) != fields[k].get_default(call_default_factory=True)),
        None,
    )
