"""The assignment problem: pair rows with columns such that the sum of costs is least.

`scipy.optimize.linear_sum_assignment` does the same; importing it takes longer than loading a model does.
"""

from __future__ import annotations

import numpy as np

from vtrack.types import FloatArray


def cheapest_pairs(cost: FloatArray) -> list[tuple[int, int]]:
    """Pair each row with a column of its own, or each column with a row if these are more, at the least total cost.

    Args:
        cost: (rows, columns), finite.

    Returns:
        Row and column of each pair, by row.

    Example:
        >>> import numpy as np
        >>> cheapest_pairs(np.array([[1.0, 2.0, 9.0], [1.0, 5.0, 9.0]]))
        [(0, 1), (1, 0)]
    """
    if len(cost) > cost.shape[1]:
        return sorted((row, column) for column, row in cheapest_pairs(cost.T))
    row_prices, column_prices = np.zeros(len(cost)), np.zeros(cost.shape[1])
    owners = np.full(cost.shape[1], -1)  # the row of each column
    for row in range(len(cost)):
        # Dijkstra's shortest path from the row, over columns and their owners, to a column without one.
        lengths, previous = np.full(len(owners), np.inf), np.full(len(owners), -1)
        done = np.zeros(len(owners), np.bool_)
        at, here, reached = row, -1, 0.0
        while at >= 0:
            through = reached + cost[at] - row_prices[at] - column_prices
            shorter = ~done & (through < lengths)
            lengths[shorter], previous[shorter] = through[shorter], here
            here = int(np.where(done, np.inf, lengths).argmin())
            at, reached, done[here] = int(owners[here]), float(lengths[here]), True
        done[here] = False
        row_prices[row] += reached
        row_prices[owners[done]] += reached - lengths[done]
        column_prices[done] -= reached - lengths[done]
        while here >= 0:
            before = int(previous[here])
            owners[here] = owners[before] if before >= 0 else row
            here = before
    return sorted((int(owners[column]), int(column)) for column in np.flatnonzero(owners >= 0))
