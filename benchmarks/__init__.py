"""What prints every speed figure of bakeoff."""
