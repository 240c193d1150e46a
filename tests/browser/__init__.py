"""The page of `tcptrace serve` in a real browser: Debian's Chromium, driven by Playwright."""
