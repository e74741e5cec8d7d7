"""Where a run computes: device, number type, compiler, processes, sharding."""
