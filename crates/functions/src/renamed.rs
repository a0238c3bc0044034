//! Casts of tuples to tuples whose elements have other names, also within arrays and maps. The engine
//! casts tuples of the same names only.
//!
//! Elements go by their names where the value has all that are wanted, else by their places.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::{Result, internal_err, plan_err};

use crate::rows::lists;
use crate::scalar::{Arity, Typed};

/// The value of the first argument in the type of the second.
pub const RENAMED: &str = "__granary_renamed";

pub(super) fn typed() -> Vec<Typed> {
    vec![Typed {
        name: RENAMED,
        arity: Arity::Exactly(2),
        returns: |types, _| match types {
            [_, wanted] => Ok(wanted.clone()),
            _ => internal_err!("a value and a type were expected"),
        },
        kernel: |arguments, wanted| renamed(&arguments[0], wanted),
    }]
}

/// Whether a cast from one type to the other meets tuples of other names.
pub fn is_renaming(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() != to.len()
                || from.iter().zip(to).any(|(from, to)| {
                    from.name() != to.name() || is_renaming(from.data_type(), to.data_type())
                })
        }
        (DataType::List(from) | DataType::LargeList(from), DataType::List(to)) => {
            is_renaming(from.data_type(), to.data_type())
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => {
            match (from.data_type(), to.data_type()) {
                // The names of the entries are nobody's.
                (DataType::Struct(from), DataType::Struct(to)) => from
                    .iter()
                    .zip(to)
                    .any(|(from, to)| is_renaming(from.data_type(), to.data_type())),
                _ => false,
            }
        }
        _ => false,
    }
}

/// For each wanted element the place of the one that it is made of.
///
/// # Errors
/// A plan error when the tuples do not fit each other.
fn places(from: &Fields, to: &Fields) -> Result<Vec<usize>> {
    let named = |field: &FieldRef| from.iter().position(|other| other.name() == field.name());
    let found: Vec<Option<usize>> = to.iter().map(named).collect();
    if let Some(all) = found.iter().copied().collect::<Option<Vec<usize>>>() {
        return Ok(all);
    }
    let names = |fields: &Fields| {
        fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
    };
    if from.len() != to.len() || found.iter().any(Option::is_some) {
        return plan_err!(
            "a tuple of ({}) cannot become one of ({}): it lacks an element",
            names(from),
            names(to)
        );
    }
    Ok((0..to.len()).collect())
}

fn renamed(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    match (values.data_type(), wanted) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            let tuple = values.as_struct();
            let element = |(place, field): (usize, &FieldRef)| {
                // Below a tuple that is NULL, elements have no meaning.
                renamed(tuple.column(place), field.data_type())
            };
            let elements = places(from, to)?.into_iter().zip(to).map(element);
            let elements = elements.collect::<Result<Vec<_>>>()?;
            for (element, field) in elements.iter().zip(to) {
                if !field.is_nullable() && element.null_count() > 0 {
                    return plan_err!("NULL in the element {} of a tuple", field.name());
                }
            }
            let nulls = tuple.nulls().cloned();
            let length = tuple.len();
            Ok(Arc::new(StructArray::try_new_with_length(to.clone(), elements, nulls, length)?))
        }
        (DataType::List(_) | DataType::LargeList(_), DataType::List(item)) => {
            let list = lists(values)?;
            let elements = renamed(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, elements, nulls)?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return internal_err!("a map without entries");
            };
            let map = values.as_map();
            let columns = map.entries().columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| renamed(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let made = StructArray::try_new(fields.clone(), columns, None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, made, nulls, *sorted)?))
        }
        (same, wanted) if same == wanted => Ok(Arc::clone(values)),
        (_, wanted) => {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            Ok(cast_with_options(values, wanted, &strict)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    fn pair(names: [&str; 2], numbers: DataType) -> Fields {
        let [number, text] = names;
        vec![Field::new(number, numbers, true), Field::new(text, DataType::Utf8, true)].into()
    }

    #[test]
    fn elements_go_by_name_where_all_are_there_and_else_by_place() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let from = pair(["a", "b"], DataType::Int64);
        let columns = vec![numbers, texts];
        let value: ArrayRef = Arc::new(StructArray::try_new(from, columns, None).expect("a tuple"));
        let to = DataType::Struct(pair(["p", "q"], DataType::Int8));
        assert!(is_renaming(value.data_type(), &to));
        let made = renamed(&value, &to).expect("by place");
        assert_eq!(made.data_type(), &to);
        let swapped: Fields =
            vec![Field::new("b", DataType::Utf8, true), Field::new("a", DataType::Utf8, true)]
                .into();
        let made = renamed(&value, &DataType::Struct(swapped)).expect("by name");
        let made = made.as_struct();
        assert_eq!(made.column(0).as_string::<i32>().value(0), "x");
        assert_eq!(made.column(1).as_string::<i32>().value(0), "7");
        let mixed = DataType::Struct(pair(["b", "c"], DataType::Int8));
        assert!(renamed(&value, &mixed).is_err());
    }
}
