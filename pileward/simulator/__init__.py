"""Simulated piles: what stands on the street, as clients of the same wire.

The piles share codecs, messages, values and the clock with the platform and nothing else: whatever the
platform believes about a pile it must have read from the socket. `pile` is the sans-I/O core, `link` and
`fleet` the thin shell of sockets and timers, `control` the handle by which tests and demos act on a pile.
"""
