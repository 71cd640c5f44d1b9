"""What the router answers itself: health, readiness, metrics, the replicas, and models.py."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from common.errors import BadRequestError, RoundhouseError, RouteNotFoundError, error_body
from engines.manager.states import ModelState
from engines.manager.status import Status
from gateway.applying import applying_router
from gateway.failing import own_fault
from gateway.feedback import feedback_router
from gateway.lives import lives_router, until
from gateway.metrics import render
from gateway.models import models_router
from router.replicas import Lane, Replica

if TYPE_CHECKING:
    from gateway.app import Gateway


def control_app(gateway: Gateway) -> FastAPI:
    app = FastAPI(title="Roundhouse", docs_url=None, redoc_url=None)
    dispatcher = gateway.dispatcher
    app.include_router(models_router(gateway))
    app.include_router(feedback_router(gateway))
    app.include_router(lives_router(gateway))
    app.include_router(applying_router(gateway))

    @app.exception_handler(RoundhouseError)
    async def on_error(request: Request, error: RoundhouseError) -> JSONResponse:
        after_s = error.retry_after_s
        headers = {} if after_s is None else {"retry-after": str(after_s)}
        return JSONResponse(error_body(error), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def on_wrong_body(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return JSONResponse(error_body(BadRequestError(f"{place}: {first['msg']}")), 400)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        wrapped = RouteNotFoundError(f"{request.method} {request.url.path}: {error.detail}")
        return JSONResponse(error_body(wrapped), error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def on_own_fault(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(error_body(own_fault()), 500)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is up; says nothing about models."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """200 once every model has a ready replica."""
        models = {name: _readiness(lane) for name, lane in dispatcher.lanes.items()}
        is_ready = dispatcher.ready and not gateway.draining
        body = {"ready": is_ready, "draining": gateway.draining, "models": models}
        return JSONResponse(body, 200 if is_ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        replicas = dispatcher.replicas.values()
        page = await render(gateway.metrics, gateway.session, replicas)
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/admin/replicas")
    async def replicas() -> dict[str, Any]:
        lives = gateway.keeper.statuses() if gateway.keeper else {}
        rows = [
            _replica_row(r, lives.get(r.model)) | {"on_demand": dispatcher.lanes[r.model].on_demand}
            for r in dispatcher.replicas.values()
        ]
        return {"replicas": rows, "ready": dispatcher.ready, "settled": dispatcher.settled}

    return app


def _readiness(lane: Lane) -> dict[str, Any]:
    return {"ready": lane.has_ready(), "replicas": [r.state for r in lane.replicas]}


def _replica_row(replica: Replica, life: Status | None) -> dict[str, Any]:
    """`life`: of its model, where that is loaded and unloaded here."""
    return {
        "id": replica.id,
        "model": replica.model,
        "state": replica.state,
        "phase": replica.phase,
        "error": replica.error,
        "error_code": replica.error_code,
        "url": replica.url,
        "gpu_ids": list(replica.gpu_ids),
        "breaker": replica.breaker.state(time.perf_counter()).name.lower().replace("_", "-"),
        "pid": replica.pid,
        "in_flight": replica.in_flight,
        "max_in_flight": replica.max_in_flight,
        "served": replica.served,
        "restarts": replica.restarts,
        "started_at": replica.started_at,
        "ready_after_s": replica.ready_after_s,
        "max_model_len": replica.max_model_len,
        "version": replica.version,
        "loaded": replica.loaded,
        "vram_bytes": replica.vram_bytes,
        "loaded_until": "forever" if replica.loaded_until == inf else replica.loaded_until,
        **(_life(life) if life else {}),
    }


def _life(life: Status) -> dict[str, Any]:
    """`loaded_until` is None while it is in use."""
    return {
        "model_state": life.state,
        "waiting": life.waiting,
        "loaded": life.state is ModelState.READY,
        "loaded_until": until(life),
    }
