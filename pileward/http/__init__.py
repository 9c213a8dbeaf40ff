"""The edge for browsers and programs: aiohttp, JSON, WebSocket.

A handler reads, asks, answers. What concerns a live pile is a message to its actor; everything else is a
service function in one transaction. Nothing here knows a frame, a timer or a state machine.
"""
