"""What the repository needs beside its product: the API page, the clients' runs, and the pinned Go tools.

Nothing in the product imports this package.
"""
