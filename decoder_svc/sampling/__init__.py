"""How the next token is chosen, held to a format, and turned into text. Knows no model."""
