"""The five articles and the gate that holds every proposal to them, the audit log of what it said, and the stop.

Nothing is imported here: whoever only looks whether somebody stopped everything must not pay for Cedar and the store.
"""
