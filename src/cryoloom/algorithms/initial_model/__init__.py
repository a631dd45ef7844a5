"""First maps of particles from their images alone: random starts, own axes, annealing on surfaces."""
