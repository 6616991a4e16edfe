"""The sides of a comparison of engines: each a process in its own environment, asked by JSON lines.

Only one of them computes at a time: the others are stopped by signal until they are asked.
"""
