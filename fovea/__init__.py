"""What both services and every Python caller share: the contract, token arithmetic, the client.

Knows no model and imports no torch.
"""
