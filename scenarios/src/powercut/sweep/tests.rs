//! The sweep finds what it must, and says so where it cannot.
