"""Networks as files for other programs, from raw pixels to probabilities, checked against torch."""
