"""One file per network or family; each public function is a name that ``--arch`` takes."""
