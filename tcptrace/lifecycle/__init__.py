"""Lives rebuilt from records: pure, events in, lives out."""
