"""The sides of a comparison of engines. Each is a process in its own environment, behind a pipe.

Only a single side runs at a time; the others are suspended.
"""
