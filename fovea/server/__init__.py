"""The gRPC server kit of both services: errors, request ids, metrics, logs, health, reflection, draining.

Independent of images and models.
"""
