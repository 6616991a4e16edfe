"""The language model: weights at rest, layers, attention over pages. Independent of requests."""
