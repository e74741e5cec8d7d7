"""What a run looks like: plots and an HTML page."""
