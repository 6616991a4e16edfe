"""How the next token is chosen, constrained to a format, and turned into text. Independent of models."""
