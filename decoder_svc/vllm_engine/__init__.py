"""The other engine: vLLM, fed with our rows. PagedAttention, FP8, tensor and pipeline parallelism are its own.

vLLM is imported inside this package only, and by nothing that is imported before an engine starts, so that
the decoder runs where it is not installed.
"""
