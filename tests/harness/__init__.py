"""A whole appliance in processes of its own, for drills and benchmarks: see `appliance.Appliance`."""
