"""What verdicts say to people."""
