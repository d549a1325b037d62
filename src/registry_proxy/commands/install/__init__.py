"""Installation of the server as a service: of systemd, or of Docker Compose."""
