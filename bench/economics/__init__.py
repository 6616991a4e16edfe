"""What `bench/economy.py` is put together from: policies, the asking, paired losses, the rescue case, the
page."""
