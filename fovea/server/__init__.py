"""The gRPC server kit of both services: errors, request ids, metrics, logs, health, reflection, draining.

Knows RPCs and processes; knows neither images nor models.
"""
