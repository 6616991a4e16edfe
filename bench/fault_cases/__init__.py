"""The cases of `bench.faults`: each breaks something under load and counts what callers and store lost."""
