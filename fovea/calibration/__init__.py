"""Calibrated confidence: when a cheap tier may keep its answer. For the decoder and `fovea calibrate`."""
