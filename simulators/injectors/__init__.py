"""What can go wrong with each family of facilities, and what is told to the machine that it happens to."""
