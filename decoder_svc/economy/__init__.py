"""What the images of a request may cost and what they become: plans, budgets, prices, and rows thinned on
request."""
