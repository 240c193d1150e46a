"""Where lives and records go: text, timeline, JSON Lines, recordings, the summary."""
