"""What both services and every Python caller share: the contract, the arithmetic of visual tokens, the client.

Knows no model and imports no torch.
"""
