//! Functions are told apart by their names: a name has one meaning.

/// Implements equality and hashing by a field, or a field of a field.
macro_rules! identified_by {
    ($function:ty, $($field:ident).+) => {
        impl PartialEq for $function {
            fn eq(&self, other: &Self) -> bool {
                self.$($field).+ == other.$($field).+
            }
        }

        impl Eq for $function {}

        impl std::hash::Hash for $function {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.$($field).+.hash(state);
            }
        }
    };
}
