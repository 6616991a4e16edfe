"""From the text of an answer to its reasoning, its text and its tool calls, while it streams."""
