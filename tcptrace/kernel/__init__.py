"""The kernel side: loading, attaching, draining."""
