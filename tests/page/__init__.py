"""The page in a real browser, against real services with the stand-in."""
