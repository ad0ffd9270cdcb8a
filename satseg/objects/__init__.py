"""Objects as arrays: what networks learn about them, and how maps of that become objects again."""
