//! rabbit-compat
