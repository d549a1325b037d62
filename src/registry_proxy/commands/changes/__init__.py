"""Changes to a machine: a plan of steps is shown, confirmed, and carried out as a whole or not at all."""
