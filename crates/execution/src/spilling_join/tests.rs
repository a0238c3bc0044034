//! Joins with little memory against the same ones with as much as they want.
