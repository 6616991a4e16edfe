"""What `make eval` is put together from: the questions, the asking, the scores, the report, the plot."""
