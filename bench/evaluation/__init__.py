"""Held-out questions to running services, shared by `bench.eval` and `bench.economy`."""
