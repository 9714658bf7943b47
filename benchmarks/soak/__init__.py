"""Long runs that look for faults: one module a kind, each with ``run`` and ``repeat``.

``run(ledger, deadline)`` works until the deadline and continues where the last run ended;
``repeat(folder)`` tries a fault again that an earlier run kept.
"""
