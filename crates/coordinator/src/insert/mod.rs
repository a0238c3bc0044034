pub mod digest;
pub mod wire;
