"""Business rules: functions on models and values, one noun a module.

A service function never opens a transaction (its caller does), never sends a message and never reads a clock:
the moment comes in as an argument, aware and UTC. What belongs to an operator is asked for with its id.
"""
