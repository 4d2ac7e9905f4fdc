"""Triggers: declared conditions on signals, judged for every group at an explicit instant."""
