"""Doctor: is everything in its place, does telemetry arrive, and do the triggers fit the fleet that they watch?"""
