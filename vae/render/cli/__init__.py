"""The command line of the renderer."""
