"""Live kernel tracer for TCP: every connection's life, both queues of every listener."""

__version__ = "0.1.0"
