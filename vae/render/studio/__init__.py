"""A page in the browser to make films and to follow trainings, without a command line."""
