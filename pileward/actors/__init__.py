"""The engine, its supervised actors and their state machines.

Machines are pure tables, `(state, event, now) -> (state, effects)`; actors are the thin shells that perform
the effects. Nothing here knows HTTP, a frame layout or a concrete integration.
"""
