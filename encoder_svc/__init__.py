"""The encoder: images in, visual rows out, each computed once and kept in LMDB by the hash of its pixels."""
