"""The clients' side: from the server's settings to the files that make a client pull through it."""
