"""The decoder's side of the encoders: who owns an image, how its rows are fetched and checked."""
