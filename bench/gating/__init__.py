"""How well and how fast the encoder's gate judges kinds of images."""
