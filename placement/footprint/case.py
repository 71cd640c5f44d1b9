"""The fields of one line of `plan --case`: a start as a script or a log describes it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from common.units import GIB
from placement.footprint.constants import cuda_total_bytes
from placement.footprint.settings import Settings
from placement.footprint.versions import parse_version


def _empty_is_missing(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


_MISSING = BeforeValidator(_empty_is_missing)
_Text = Annotated[str | None, _MISSING]
_Count = Annotated[Annotated[int, Field(gt=0)] | None, _MISSING]
_Amount = Annotated[float | None, _MISSING]
_Size = Annotated[Annotated[float, Field(gt=0)] | None, _MISSING]
_Share = Annotated[Annotated[float, Field(gt=0, le=1)] | None, _MISSING]
_Flag = Annotated[bool | None, _MISSING]


class Case(BaseModel):
    """Keys that are missing, null or empty take vLLM's defaults. Sizes are GiB of one GPU."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    id: _Text = None
    config: Annotated[dict[str, Any] | None, _MISSING] = None
    gpu: _Text = None
    gpu_mem_gib: _Size = None
    n_gpus: _Count = None
    tp: _Count = None
    pp: _Count = None
    dtype: _Text = None
    quantization: _Text = None
    kv_cache_dtype: _Text = None
    gpu_memory_utilization: _Share = None
    max_model_len: _Count = None
    max_num_seqs: _Count = None
    max_num_batched_tokens: _Count = None
    enforce_eager: _Flag = None
    enable_expert_parallel: _Flag = None
    enable_prefix_caching: _Flag = None
    block_size: _Count = None
    vllm_version: _Text = None
    weights_bytes: _Count = None  # of the whole model, by the headers of its files
    kv_cache_gib: _Amount = None  # of one GPU, as reported; then only the rest is predicted

    @property
    def settings(self) -> Settings:
        tp = self.tp or 1
        return Settings(
            vllm_version=parse_version(self.vllm_version),
            tp=tp,
            pp=self.pp or max(1, (self.n_gpus or tp) // tp),
            expert_parallel=bool(self.enable_expert_parallel),
            dtype=self.dtype or "auto",
            quantization=self.quantization,
            kv_cache_dtype=self.kv_cache_dtype or "auto",
            gpu_memory_utilization=self.gpu_memory_utilization,
            max_model_len=self.max_model_len,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            enforce_eager=bool(self.enforce_eager),
            block_size=self.block_size,
            prefix_caching=self.enable_prefix_caching,
        )

    @property
    def total_bytes(self) -> int | None:
        if self.gpu_mem_gib:
            return int(self.gpu_mem_gib * GIB)
        return cuda_total_bytes(self.gpu or "")
