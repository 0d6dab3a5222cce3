//! Operations on a herd: create, admit, join, remove, change the policy, prove it.
