"""What the pages say is what the programs do."""
