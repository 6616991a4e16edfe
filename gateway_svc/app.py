"""The assembly of the gateway, in order: settings, logs, decoder, application, server."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from fovea import logs, settings
from fovea.address import Address
from fovea.contract.errors import FoveaError
from fovea.server.entry import run
from fovea.server.metrics_server import MetricsServer
from gateway_svc import chat, count, files, health, models, page_api
from gateway_svc.error_body import EXCEPTION_HANDLERS
from gateway_svc.gateway import Gateway
from gateway_svc.http_server import HttpServer
from gateway_svc.layers import Layers
from gateway_svc.metrics import GatewayMetrics
from gateway_svc.settings import GatewaySettings

log = structlog.get_logger()


def main(argv: Sequence[str]) -> None:
    """Run until SIGTERM. Exits with 2 for wrong settings, 1 for a failed start, with a single clear line."""
    config = settings.load(
        GatewaySettings,
        argv,
        program="fovea gateway",
        description="Fovea's gateway: the OpenAI API over HTTP, and a page",
    )
    logs.configure(config.log_form, config.log_level)
    logs.adopt_libraries(config.log_form)
    log.info("settings", **settings.printable(config))
    run(serve(config), "gateway", (FoveaError, OSError, ValueError))


def routes(config: GatewaySettings) -> list[BaseRoute]:
    """Every endpoint. A path that none has is refused by name."""
    modules = (health, models, chat, count, files, *((page_api,) if config.page else ()))
    return [route for module in modules for route in module.routes()]


def create_app(gateway: Gateway, registry: CollectorRegistry) -> Starlette:
    """The application. Raises CredentialsInvalid for a token file that cannot be used."""
    config = gateway.config
    layers = Middleware(
        Layers, config=config, tokens=config.accepted_tokens(), metrics=GatewayMetrics(registry)
    )
    app = Starlette(routes=routes(config), middleware=[layers], exception_handlers=dict(EXCEPTION_HANDLERS))
    app.state.gateway = gateway
    return app


async def serve(config: GatewaySettings) -> None:
    """Serve until a signal arrives, whether the decoder answers or not: `/readyz` tells."""
    registry = CollectorRegistry()
    async with Gateway.open(config) as gateway:
        server = HttpServer(create_app(gateway, registry), config)
        metrics: MetricsServer | None = None
        await server.start()
        log.info("listening", address=server.address, decoder=config.decoder)
        try:
            if config.metrics_listen:
                metrics = await MetricsServer.start(Address.parse(config.metrics_listen), registry)
            await server.until_stopped()
        finally:
            gateway.draining = True
            log.info("draining", grace_s=config.grace_s)
            await server.drain()
            if metrics is not None:
                await metrics.close()
