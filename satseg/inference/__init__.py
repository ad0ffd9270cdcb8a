"""Inference over scenes of any size: windows, forward passes, blending, finished rows."""
