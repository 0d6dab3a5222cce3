//! A simulated herd around the shipped core: every state of a small one, and the random life of larger ones.
