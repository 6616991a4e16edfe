"""From pixels to visual rows: preprocessing, the vision tower, and the batching before it."""
