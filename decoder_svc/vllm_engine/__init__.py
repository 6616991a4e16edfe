"""The other engine: vLLM, fed with our rows, for its FP8 and its tensor and pipeline parallelism.

vLLM is imported inside this package only, and by nothing that is imported before an engine starts, so that
the decoder runs where it is not installed.
"""
