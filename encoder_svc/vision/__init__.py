"""From pixels to visual rows: preprocessing, batching, and the vision tower."""
