//! The retry table and its budget.
