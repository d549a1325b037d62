"""`registry-proxy doctor`: checks of a server or a client on its machine; every problem includes a fix."""
