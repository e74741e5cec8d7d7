"""Where a run computes: device, number type, compiler; several processes; their shards."""
