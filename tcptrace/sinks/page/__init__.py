"""What a browser is shown of now: a static page, and the JSON that it asks for. No HTTP."""
