"""What runs on many hosts, for real, in guests: the container, the package, a pair of hosts."""
