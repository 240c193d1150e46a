"""Fuzzing of everything that comes from outside: `make fuzz MINUTES=10`.

Each target takes inputs that hypothesis generates and checks what must hold for any of them: an
error that was foreseen or a right answer, and nothing on the way out that could steer a terminal.
"""
