"""Engines: from a prompt and visual rows to text.

`native` is the embedded one. Importing this package imports no torch: what runs a model does.
"""
