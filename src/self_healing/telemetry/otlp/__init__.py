"""OTLP in: the bytes of a request, in protobuf or JSON, normalised into events. Nothing is read or sent here.

::

    bytes -> message -> for each item: plan (which attributes, for which columns) -> cells -> event
"""

from self_healing.telemetry.otlp.logs import logs
from self_healing.telemetry.otlp.metrics import metrics
from self_healing.telemetry.otlp.rejection import Rejection, sentence
from self_healing.telemetry.otlp.traces import traces

__all__ = ["Rejection", "logs", "metrics", "sentence", "traces"]
