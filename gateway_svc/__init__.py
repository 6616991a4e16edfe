"""The gateway: HTTP for clients of the OpenAI API, and a page for people. A gRPC client of a decoder.

`app.create_app(gateway, registry)` builds the Starlette application around a `Gateway`, which
`Gateway.open(config)` makes. `app.serve(config)` runs both until a signal. `python -m gateway_svc` and
`fovea gateway` start it. `routes()` of a module lists its endpoints; `endpoint.route` and
`endpoint.json_route` make them.

A handler reads the process as `gateway.of(request)`: a `Gateway` with `config` (GatewaySettings), `decoder`
(an AsyncClient without credentials) and `info` (a cached GetServerInfo). `Gateway.calling(request)` is the
AsyncClient whose calls carry the request's bearer token, request id and deadline; use it for every call on
behalf of a request. `error_body` turns the FoveaError of a handler into an HTTP error in OpenAI's shape.

The page and its JSON endpoints under /page/api/ are `page/` and `page_api.py`.
"""
