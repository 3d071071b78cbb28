"""The page of an advice: the answer, what each price buys, the race, the commands."""
