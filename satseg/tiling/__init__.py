"""Make tile sets: pair scenes with labels, divide scenes into splits without leaks, plan and cut tiles."""
