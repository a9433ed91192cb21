"""Envelope encryption of payloads: master keys wrap one data key per data subject."""
