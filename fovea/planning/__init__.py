"""How large an image has to be: pure arithmetic over sizes and what was measured of a picture.

Every decision is one number, a `max_pixels` for `Geometry.plan`, so that encoders, decoder and clients agree
on the grid without another field. Knows no request, no model and no pixel.
"""
