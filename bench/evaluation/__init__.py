"""Held-out questions asked through running services: shared by `bench.eval` and `bench.economy`."""
