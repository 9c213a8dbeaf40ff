"""What stands behind the ports to the outside: WeChat Pay, and the servers of the mini-program.

Each module knows one provider and turns its words into those of `pileward.messages`; the rest of the house
sees the ports only.
"""
