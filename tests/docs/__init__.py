"""The pages match the programs."""
