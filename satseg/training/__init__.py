"""Training: the loop, losses, schedule, optimiser, sampling and augmentation."""
