"""What test_emulator.py is made of: the emulator and a tap before it, the jobs and what is to be said to them, and what
each protocol wants on the wire."""
