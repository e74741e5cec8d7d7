"""Compile gates: every kernel at every configuration, compiled without a GPU and inspected."""
