"""The wire format: what crosses the ring, defined once."""
