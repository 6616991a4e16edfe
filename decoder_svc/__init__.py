"""The decoder: text and visual rows in, an answer and its receipt out. The front door of Fovea."""
