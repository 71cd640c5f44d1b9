"""llama.cpp by xllamacpp: its server as a child process (child.py, llamacpp_server.py)."""

from __future__ import annotations

import json
from typing import Any

from common.errors import EngineLoadError
from engines import llamacpp_log
from engines.child import DIRECT, EXIT_ENGINE_DEAD, ChildEngine, environment
from engines.llamacpp_args import parameters, slots_of
from engines.startup_log import Cause

__all__ = ["EXIT_ENGINE_DEAD", "LlamaCppEngine", "environment"]

_PROPS_TIMEOUT_S = 30.0


class LlamaCppEngine(ChildEngine):
    """See engines.base.Engine."""

    title = "llama.cpp"
    module = "engines.llamacpp_server"

    def _asked(self) -> dict[str, Any]:
        values = parameters(self._spec)
        plain = {k: sorted(v) if isinstance(v, set) else v for k, v in values.items()}
        return {"parameters": plain}

    def _cause(self, text: str, own: str) -> Cause:
        return llamacpp_log.cause(text, own)

    def _of_ready(self, url: str) -> dict[str, Any]:
        context = self._ask_context(url)
        return {"max_model_len": context, "kv_tokens": context * slots_of(self._spec.engine_args)}

    def _ask_context(self, url: str) -> int:
        """What one slot really holds; less than was planned must not go unnoticed."""
        with DIRECT.open(self._request("/props", url), timeout=_PROPS_TIMEOUT_S) as answer:
            context = int(json.load(answer)["default_generation_settings"]["n_ctx"])
        wanted = self._spec.max_model_len or 0
        if context < wanted:
            raise EngineLoadError(
                f"llama.cpp gave each slot a context of {context} tokens, {wanted} were planned; "
                "set max_model_len to what the model can"
            )
        return context
