"""Recordings: the ring's records in a file, as they came, and back."""

from tcptrace.sinks.recording.reader import RecordingReader
from tcptrace.sinks.recording.writer import RecordingWriter

__all__ = ["RecordingReader", "RecordingWriter"]
