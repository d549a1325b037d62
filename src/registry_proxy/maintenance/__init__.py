"""Work on the store and its index apart from requests: import, verification, removal, status, counting."""
