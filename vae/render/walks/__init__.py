"""What a film goes along: paths, loops, comparisons, a direction, a tour."""
