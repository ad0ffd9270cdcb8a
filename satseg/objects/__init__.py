"""Objects as arrays: what networks learn about them, and how maps of that become objects again."""

OBJECT_OUTPUTS = 2
"""Outputs of a network beside the classes if it learns objects: inner boundary and distance, in this order."""
