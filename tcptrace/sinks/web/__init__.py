"""The HTTP side of the exporter: an address, a web configuration, a server. It knows no metrics."""
