"""A discrete-event model of a fleet, its calibration, and the real fleets that it is compared with."""
