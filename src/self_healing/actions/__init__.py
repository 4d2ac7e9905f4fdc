"""Corrections: what may be done (registry), doing it once (effect, runner), and the settings that the fleet reads.

Nothing is imported here: agents import ``self_healing.actions.directives`` in their own processes, and must get it
for little.
"""
