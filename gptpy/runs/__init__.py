"""What a run directory holds: checkpoints, metrics, and how one is opened."""
