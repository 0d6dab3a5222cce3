//! Known mistakes in a live cluster, one rule per file, each with its evidence and its fix.
