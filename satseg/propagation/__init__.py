"""What has moved and what has changed between two scenes of the same ground."""
