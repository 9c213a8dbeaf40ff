"""Listening sockets and their limits: bytes move here, decisions are made by actors."""
