"""A small TCP: plays connections on one host and writes what the probes would send of them.

Each chain of connections has two ends and a listener of its own, and uses its ports again and
again; chains run at the same time, and objects' addresses are used again as soon as they are free.
Beside the records the model writes down the lives and listeners that it played.
"""
