"""Given pictures, moved into one another."""
