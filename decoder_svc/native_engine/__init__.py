"""The native engine: continuous batching over paged KV, with prefix reuse by content."""
