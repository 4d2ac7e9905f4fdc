"""The state of the loop: one schema and its migrations, one store that owns it, one light way to read it."""
