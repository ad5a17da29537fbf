"""Alpha mattes and foreground colours: arrays in, arrays out; no PIL, no torch."""
