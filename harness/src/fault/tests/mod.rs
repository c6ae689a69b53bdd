//! The grammar's tests: tables of good and bad rules in both forms, and properties over arbitrary ones.

mod bad_rules;
mod bad_toml;
mod good_rules;
mod properties;
