"""Tortoise models, one module for each business area, and their migrations.

What the database can keep (unique, not null, foreign keys) it keeps. No float column: money and energy are
integers with the scale in the name. Times are aware UTC. Descriptions that reach the database are
written out (tables) or empty (enums), so that a changed docstring or a new word never asks for a migration.
"""
