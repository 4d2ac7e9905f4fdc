"""Looking at events: in the fleet's native files and in our own segments, without a lock on anything."""

__all__: list[str] = []
