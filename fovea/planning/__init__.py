"""How large an image has to be: pure arithmetic over sizes and measured image traits.

Every decision is a `max_pixels` for `Geometry.plan`, so encoders, decoder and clients agree on the grid
without another field. Independent of requests, models and pixels.
"""
