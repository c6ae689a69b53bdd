//! The doctor against states of files that real programs made: Python's sqlite3, the shell, kill, cp, mv, mount.
//!
//! Where Python is not there, nothing can be built, and the tests say so loudly. States that need a right which this
//! machine does not give (a mount, a namespace) are passed over one by one, by name.

mod advice;
mod healthy;
mod moments;
mod page;
mod sick;
mod surroundings;
mod world;
