"""Calibrated confidence: when the answer of a cheap tier may be kept. Shared by the decoder and `fovea calibrate`."""
