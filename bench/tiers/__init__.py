"""What tiers are worth: traffic, sides and the parts of `bench.cascade`."""
