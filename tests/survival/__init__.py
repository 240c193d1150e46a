"""Faults that a running trace survives, or dies of without a trace: `make test-faults`.

As the live tests on a real kernel, in a guest; apart from them since they take minutes. What is
found is told in docs/reliability-faults.md.
"""
