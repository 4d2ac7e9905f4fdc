"""Work given to another agent or a person, with its context and evidence: the message, its way there, and its life."""
