"""Explaining: what a trigger saw of a series at an instant, and why it said what it said; now, and in the past."""

__all__: list[str] = []
