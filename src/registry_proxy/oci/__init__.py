"""Values of the protocol: names, digests, manifests, challenges and ranges. Pure: no I/O and no clock."""
