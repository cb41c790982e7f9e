"""`data worth`: trials on growing fractions of the train split, and what they promise."""
