"""What everything costs as the log grows: the same measurements at 10^4, 10^6 and 10^7 facts."""
