"""Blocks that three or more networks share."""
