"""Unit tests of triggers: what a person pushes at times, and what is expected of the real loop at times.

``declared`` reads the files, ``notation`` and ``pushing`` turn series into events, ``running`` runs them on a fake
clock, ``telling`` says what differs.
"""
