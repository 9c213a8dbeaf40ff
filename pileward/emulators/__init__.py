"""Local stand-ins for services outside, as servers of their own process that speak the real protocols.

An emulator shares nothing with what it tests but the house's values: it knows neither the client that calls
it nor the platform behind, so an error of theirs is not repeated here.
"""
