"""Outputs: check before any work that they can be written, and lock them while they are."""
