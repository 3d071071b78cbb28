"""How much of a large comparison a page shows; results.csv has all of it."""

MOST_DRAWN = 24  # strategies in one chart
MOST_BLOCKS = 12  # blocks with a column, a table or a chart of their own
MOST_ROWS = 500  # of a table
