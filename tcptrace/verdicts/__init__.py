"""What is wrong, and whose doing it is: evidence from lives and the ledger, judged. Pure."""
