"""What can be wrong with a server or a client, looked for where it runs; each finding says what to do."""
