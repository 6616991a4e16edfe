"""Measurements. Each bench is a command that prints a card for people and, as its last line, a JSON object.

A bench runs both sides of a comparison in the same run, in turns, and gives bounds with every figure.
Nothing in the product imports this package.
"""
