"""A folder that is watched: photos that come are cut out."""
