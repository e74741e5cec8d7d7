"""Exact and fast byte-pair encoding: trainer and encoder."""
