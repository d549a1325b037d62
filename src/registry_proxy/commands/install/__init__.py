"""Installing the server as a service: a plan of steps is made, shown, and carried out as a whole or not at all."""
