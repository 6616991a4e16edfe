"""The settings that benches switch, in one place: what a service is started with to do without a thing.

Knows names of settings; what they do is the services' business.
"""

from __future__ import annotations

NO_ROW_STORE = ("--cache-bytes", "0")
"""Of the encoder: every ask runs the tower, unless it joins one that is under way."""
NO_PREFIX = ("--prefix-cache", "false")
NO_ROWS_KEPT = ("--row-cache-bytes", "0")
NO_OVERLAP = ("--overlap", "false")
"""Of the decoder: the rows of all images first, one image after another, then the prefill."""
NO_DECODER_CACHES = (*NO_PREFIX, *NO_ROWS_KEPT)
ONE_THREAD = ("--threads", "1")
