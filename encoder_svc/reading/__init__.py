"""Reads the text of images (OCR) in worker processes of low priority.

`reader.py` is what the encoder calls. `worker.py` runs in the child processes, with an engine for each
library: `rapid.py` and `tesseract.py`. `engine.py` says which of them is installed.
"""
