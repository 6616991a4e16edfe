"""Credentials of both sides of a connection: TLS files, bearer tokens, and their renewal."""
