"""Attribution maps of a version's answers, and what these maps are worth."""
