"""The gateway: HTTP for clients of the OpenAI API, and a page for people. A gRPC client of a decoder.

`app.create_app(gateway, registry)` builds the Starlette application around a `Gateway`; `Gateway.open(config)` makes
that, and `app.serve(config)` runs both until a signal. `python -m gateway_svc` and `fovea gateway` start it.
`routes()` of a module lists its endpoints; `endpoint.route` and `endpoint.json_route` make them.

A handler reads the process as `gateway.of(request)`: a `Gateway` with `config` (GatewaySettings), `decoder` (an
AsyncClient without credentials) and `info` (a cached GetServerInfo). `Gateway.calling(request)` is the AsyncClient
whose calls carry the request's bearer token, request id and deadline; use it for every call on behalf of a
request. A FoveaError that a handler raises becomes an HTTP error in OpenAI's shape (`errors`).

The page and its JSON endpoints under /page/api/ are `page/` and `page_api.py`.
"""
