"""The encoder service: turns images into visual rows, computes each once, and stores them in LMDB by pixel
hash.
"""
