"""YKC (云快充) 1.5, 1.6 and 1.7: the protocol between charging piles and a platform, over TCP.

From the wire upwards: `envelope` cuts a stream into frames; `wire`, `table` and the `frames` modules say how
bodies lie; `decoder` turns frames into structs; `reading`, `writing` and `plausible` turn structs into the
platform's messages and back; `dialect` does all of it for one connection. `text` shows frames to people,
`docs` prints the tables.
"""

from pileward.codecs.ykc import frames

__all__ = ["frames"]
