"""How good a map is: masks, correlation by direction, local resolution, sharpening."""
