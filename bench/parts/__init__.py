"""What benches are put together from: each module measures one thing and prints nothing."""
