"""Looking inside a running process: the actor tree, state machines, frames as they pass, and a page for
people.
"""
