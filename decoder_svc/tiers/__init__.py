"""Tiers: ways to answer a request, from the cheapest to the dearest."""
