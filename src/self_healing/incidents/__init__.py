"""Incidents: the story of a series that fired, from detection to its close."""
