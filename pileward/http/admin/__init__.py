"""`/api/admin/v1`: what the operator's people do. Every change leaves an audit entry and is told to the
actors.
"""
