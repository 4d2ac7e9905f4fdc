"""Events in: native JSON lines are read, decoded and accounted for, and folded into the panes that triggers look at."""

__all__: list[str] = []
