//! Courant.
fn main() {}
