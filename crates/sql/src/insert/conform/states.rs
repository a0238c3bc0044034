//! Aggregate states for columns of states.

use arrow::array::{Array, ArrayRef};
use granary_catalog::{AggregateType, ColumnType};

use super::{Misfit, spelled};
use granary_functions::states::{retyped, same_states};

/// States of the column's function, over arguments that it sees as the column's.
pub(super) fn conform_states(
    values: &ArrayRef,
    wanted: &AggregateType,
    column_type: &ColumnType,
) -> Result<ArrayRef, Misfit> {
    let none = |message: String| Misfit { row: None, message };
    let Some(given) = ColumnType::state_from_arrow(values.data_type()) else {
        return Err(none(format!(
            "values of type {} are no states: {column_type} takes what {}State(...) gives",
            spelled(values),
            wanted.function
        )));
    };
    if !same_states(&given, wanted) {
        return Err(none(format!("AggregateFunction({given}) cannot be {column_type}")));
    }
    retyped(values, &column_type.arrow()).map_err(|error| none(error.to_string()))
}
