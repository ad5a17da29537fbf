"""From inputs to outputs: planning, bounded stages, atomic writing."""
