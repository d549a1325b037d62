"""Configuration of clients: files that make a client pull through the server, made from the server's settings."""
