"""Networks: one file per network or family; each public function is a network of its name."""
