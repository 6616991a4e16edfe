"""The images of a request: described, planned, deduplicated, and their rows located."""
