"""The gate: whether a challenger may replace the champion, with reasons and numbers; pure."""
