"""What joins the stages: each module is one part of the loop that needs several of them.

:mod:`self_healing.orchestrator` lists these parts in their order. The stages' own folders know nothing of each other.
"""
