"""The vLLM engine: vLLM fed with our rows, for its FP8 and its tensor and pipeline parallelism.

Only this package imports vLLM, and only after an engine starts, so that the decoder runs without vLLM.
"""
