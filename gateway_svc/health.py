"""GET /healthz, whether this process answers, and GET /readyz, whether a request could be answered now."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from gateway_svc import gateway
from gateway_svc.endpoint import route


def routes() -> list[BaseRoute]:
    return [route("/healthz", healthz), route("/readyz", readyz)]


async def healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """503 while the process drains, and while the decoder is not ready."""
    here = gateway.of(request)
    if here.draining:
        return JSONResponse({"status": "draining"}, 503)
    ready = await here.readiness.check()
    return JSONResponse({"status": "ok" if ready else "decoder not ready"}, 200 if ready else 503)
