"""Measurements. Each bench is one command that prints a card for people and, last, one JSON line.

A bench runs both sides of a comparison in the same run, in turns, and gives bounds with every figure.
Nothing in the product imports this package.
"""
