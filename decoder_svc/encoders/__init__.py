"""The decoder's client side of the encoders: image ownership, row fetches and checks."""
