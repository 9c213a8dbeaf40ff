"""Wire formats of piles: bytes to the platform's messages and back, without sockets, clocks or logs."""
