"""Work on the store and its index that no request waits for: import, verification, removal, status, counting."""
