"""Promotion: moving the champion alias, with compare-and-swap, history, rollback and audit."""
