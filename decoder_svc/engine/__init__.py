"""What both engines share: the protocol, admission, calls, clocks, delta queues, row buffers. No torch."""
