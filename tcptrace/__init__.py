"""Live kernel tracer for TCP: every connection's life, both queues of every listener."""

import os

# numpy's linear algebra, which nothing here uses, would start a thread for each CPU as it is
# imported: they cost memory, and keep root's privileges when the one that traces gives its own up.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

__version__ = "0.1.0"
