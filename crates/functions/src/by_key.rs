//! `sumMap`, `minMap`, `maxMap`: values are added or compared key by key, over maps or over pairs of
//! arrays.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

use super::gives;
use super::rows::{item_type, lists};

/// What becomes of two values of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Merge {
    Sum,
    Min,
    Max,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByKey {
    name: &'static str,
    aliases: Vec<String>,
    merge: Merge,
    signature: Signature,
}

/// The functions of this family: `sumMap(map)` is a map, `sumMap(keys, values)` a tuple of the keys in
/// their order and their sums. Keys whose sum over arrays is zero are left out.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let function = |name: &'static str, merge| {
        Arc::new(AggregateUDF::from(ByKey {
            name,
            aliases: vec![name.to_lowercase()],
            merge,
            signature: Signature::variadic_any(Volatility::Immutable),
        }))
    };
    vec![
        function("sumMap", Merge::Sum),
        function("minMap", Merge::Min),
        function("maxMap", Merge::Max),
    ]
}

impl ByKey {
    /// The types of a key and of a value of the result.
    fn types(&self, arguments: &[DataType]) -> Result<(DataType, DataType)> {
        let (key, value) = match arguments {
            [DataType::Map(entries, _)] => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    (fields[0].data_type().clone(), fields[1].data_type().clone())
                }
                other => return plan_err!("{} takes a map, not {other}", self.name),
            },
            [keys, values] => (item_type(keys)?, item_type(values)?),
            _ => return plan_err!("{} takes a map, or keys and values as two arrays", self.name),
        };
        let value = match self.merge {
            Merge::Sum => sum_type(self.name, &value)?,
            Merge::Min | Merge::Max => value,
        };
        Ok((key, value))
    }
}

/// Sums are as wide as those of `sum`.
fn sum_type(name: &str, value: &DataType) -> Result<DataType> {
    Ok(match value {
        unsigned if unsigned.is_unsigned_integer() => DataType::UInt64,
        integer if integer.is_integer() => DataType::Int64,
        float if float.is_floating() => DataType::Float64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        other => return plan_err!("{name} adds numbers, not {other}"),
    })
}

fn list_field(name: &str, item: &DataType) -> FieldRef {
    let list = DataType::List(Arc::new(Field::new_list_field(item.clone(), true)));
    Arc::new(Field::new(name, list, true))
}

impl AggregateUDFImpl for ByKey {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let (key, value) = self.types(arguments)?;
        Ok(match arguments {
            [_] => DataType::Map(gives::map_entries(&key, &value), false),
            _ => {
                DataType::Struct(Fields::from(vec![list_field("1", &key), list_field("2", &value)]))
            }
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> =
            arguments.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let (key, value) = self.types(&types)?;
        Ok(vec![
            list_field(&format!("{}[keys]", arguments.name), &key),
            list_field(&format!("{}[values]", arguments.name), &value),
        ])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types: Vec<DataType> =
            arguments.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let (key, value) = self.types(&types)?;
        let of_maps = types.len() == 1;
        Ok(Box::new(Values {
            merge: self.merge,
            key,
            value,
            of_maps,
            by_key: HashMap::new(),
            key_bytes: 0,
        }))
    }
}

/// The merged values of one group.
#[derive(Debug)]
struct Values {
    merge: Merge,
    key: DataType,
    value: DataType,
    of_maps: bool,
    by_key: HashMap<ScalarValue, ScalarValue>,
    /// What the keys and values hold beside the table, in bytes.
    key_bytes: usize,
}

impl Values {
    fn add_lists(&mut self, keys: &ListArray, values: &ListArray) -> Result<()> {
        let items = cast(values.values(), &self.value)?;
        for row in 0..keys.len() {
            if keys.is_null(row) || values.is_null(row) {
                continue;
            }
            if keys.value_length(row) != values.value_length(row) {
                return exec_err!(
                    "there are {} keys and {} values in a row",
                    keys.value_length(row),
                    values.value_length(row)
                );
            }
            let (from, to) =
                (keys.value_offsets()[row] as usize, values.value_offsets()[row] as usize);
            for place in 0..keys.value_length(row) as usize {
                self.add(keys.values(), from + place, &items, to + place)?;
            }
        }
        Ok(())
    }

    fn add_maps(&mut self, maps: &MapArray) -> Result<()> {
        let items = cast(maps.values(), &self.value)?;
        for row in 0..maps.len() {
            let range = maps.value_offsets()[row] as usize..maps.value_offsets()[row + 1] as usize;
            for at in range.filter(|_| maps.is_valid(row)) {
                self.add(maps.keys(), at, &items, at)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, keys: &ArrayRef, at: usize, values: &ArrayRef, place: usize) -> Result<()> {
        if keys.is_null(at) || values.is_null(place) {
            return Ok(());
        }
        let value = ScalarValue::try_from_array(values, place)?;
        let key = ScalarValue::try_from_array(keys, at)?;
        match self.by_key.get_mut(&key) {
            Some(known) => {
                *known = match self.merge {
                    Merge::Sum => known.add(&value)?,
                    Merge::Min if value.partial_cmp(known) == Some(Ordering::Less) => value,
                    Merge::Max if value.partial_cmp(known) == Some(Ordering::Greater) => value,
                    Merge::Min | Merge::Max => return Ok(()),
                };
            }
            None => {
                self.key_bytes += key.size() + value.size();
                self.by_key.insert(key, value);
            }
        }
        Ok(())
    }

    /// Keys in their order, and their values.
    fn columns(&self, without_zeros: bool) -> Result<(ArrayRef, ArrayRef)> {
        let zero = ScalarValue::new_zero(&self.value).ok().filter(|_| without_zeros);
        let mut entries: Vec<(&ScalarValue, &ScalarValue)> =
            self.by_key.iter().filter(|(_, value)| Some(*value) != zero.as_ref()).collect();
        entries.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        let column = |values: Vec<ScalarValue>, of: &DataType| match values.is_empty() {
            true => Ok(new_empty_array(of)),
            false => ScalarValue::iter_to_array(values),
        };
        let keys = column(entries.iter().map(|(key, _)| (*key).clone()).collect(), &self.key)?;
        let values =
            column(entries.iter().map(|(_, value)| (*value).clone()).collect(), &self.value)?;
        Ok((keys, values))
    }
}

/// One list of all `items`.
fn only_list(items: ArrayRef) -> ListArray {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    ListArray::new(field, offsets, items, None)
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [maps] => self.add_maps(maps.as_map()),
            [keys, values, ..] => self.add_lists(&lists(keys)?, &lists(values)?),
            [] => exec_err!("a map, or keys and values, are expected"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add_lists(&lists(&states[0])?, &lists(&states[1])?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (keys, values) = self.columns(false)?;
        Ok(vec![
            ScalarValue::List(Arc::new(only_list(keys))),
            ScalarValue::List(Arc::new(only_list(values))),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (keys, values) = self.columns(self.merge == Merge::Sum && !self.of_maps)?;
        if self.of_maps {
            let field = gives::map_entries(&self.key, &self.value);
            let DataType::Struct(fields) = field.data_type() else {
                return exec_err!("the entries of a map are tuples");
            };
            let offsets = OffsetBuffer::from_lengths([keys.len()]);
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            let map = MapArray::try_new(Arc::clone(&field), offsets, entries, None, false)?;
            return Ok(ScalarValue::Map(Arc::new(map)));
        }
        let fields = Fields::from(vec![list_field("1", &self.key), list_field("2", &self.value)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(only_list(keys)), Arc::new(only_list(values))];
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields, columns, None)?)))
    }

    fn size(&self) -> usize {
        let slot = 2 * size_of::<ScalarValue>();
        size_of_val(self) + self.by_key.capacity() * slot + self.key_bytes
    }
}
