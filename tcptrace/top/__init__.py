"""`tcptrace top`: a host in full screen, live."""
