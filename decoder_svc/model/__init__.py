"""The language model: weights at rest, layers, attention over pages. Knows no request."""
