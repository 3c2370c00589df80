"""Push: Firebase Cloud Messaging and Web Push; how a message is written, sent many at a time, and what each answer means."""
