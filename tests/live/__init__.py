"""The live suite: real connections on a real kernel, traced by the real command, in a guest."""
