"""Parts of benches. Each module is a measurement and prints nothing."""
