"""What a request may cost: budget, planner, pressure, tariff. Pure functions without I/O."""
