"""`/api/driver/v1`: what a driver's app does, from the list of stations to the last fen of a refund.

Whatever concerns a live gun, order or payment is a message to its actor; lists and finished charges are read
through services. A driver never learns of another's orders: they are not found.
"""
