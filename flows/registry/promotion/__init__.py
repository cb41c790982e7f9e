"""Promotion: move the champion alias by compare-and-swap, with history, rollback and audit."""
