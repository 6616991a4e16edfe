"""The gate's pictures, network and training. The encoder runs what `export.py` writes.

`text`, `table`, `chart`, `drawing` and `photo` draw pictures of their kind from a seed, with real fonts;
`unseen` draws pictures that only measure. `pictures` adds what happens to files (JPEG, scans, grey) and blank pictures.
"""
