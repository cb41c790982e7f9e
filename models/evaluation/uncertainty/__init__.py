"""How sure scores are: intervals by formula, by bootstrap, and by draws of the confusions."""
