"""The second level of rows: a Valkey or Redis, or a cluster of them, that several encoders share.

`keys` names records there, `node` calls a server, `servers` finds the server of a key, `writer` writes behind
the calls, `cache` puts them together behind the interface of `level`. Only `node`, `servers` and `cache`
import the client library, which is an extra. Lives in the event loop, beside the store on disk.
"""
