"""The sides of a comparison of engines: each a process in its own environment, asked over a pipe.

Only one of them computes at a time: the others are suspended until they are asked.
"""
