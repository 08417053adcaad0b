"""Trainings on pictures that nothing was tuned to, beside the network of a course lesson that has as much CPU time."""
