"""The parts of `bench.economy`: policies, paired losses, the rescue case, random plans, the page."""
