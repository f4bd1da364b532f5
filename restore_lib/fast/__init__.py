"""The same answers sooner: accelerations that are not the equation, each tested equal to the plain form."""
