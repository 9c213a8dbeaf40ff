"""The protocol-neutral messages between codecs, actors and edges: frozen structs without behaviour.

`uplinks` come from a pile, `downlinks` go to a pile, `commands` are asked of a pile actor, `events` tell
others what happened. Frames never appear here, and nothing here imports a codec.
"""
