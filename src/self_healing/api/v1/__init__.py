"""The API under ``/api/v1``: what can be asked and told, one module a part of it."""
