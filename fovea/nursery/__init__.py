"""Work on untrusted input, in child processes that may be killed.

`server.py` is a process that loads what the work needs and forks its children. `process.py` starts it and
talks to its children. `alone.py` is a child without one. `limits.py` bounds a child, `frames.py` defines what
travels.
"""
