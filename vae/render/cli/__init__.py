"""The command line of the program that renders."""
