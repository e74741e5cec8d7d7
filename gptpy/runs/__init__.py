"""A run directory: its checkpoints and metrics, opening it; how a job reports its progress."""
