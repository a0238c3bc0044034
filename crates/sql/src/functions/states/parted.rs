//! A known function for each position of arrays (-ForEach), each bucket of a key (-Resample) or each
//! key of maps (-Map): one accumulator of the function for each part.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{sort_to_indices, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use super::call::Call;
use super::known::{Known, Parameters};
use crate::functions::rows::{integers, item_type, lists, range_of};

/// What makes the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Positions,
    Buckets,
    Keys,
}

impl Split {
    /// The combinator.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Split::Positions => "ForEach",
            Split::Buckets => "Resample",
            Split::Keys => "Map",
        }
    }
}

/// Most buckets of -Resample.
const BUCKETS_MAX: i64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Parted {
    name: String,
    aliases: Vec<String>,
    known: &'static Known,
    split: Split,
    signature: Signature,
}

/// How the arguments of a call lie beside each other.
struct Layout<'a, T> {
    arguments: &'a [T],
    parameters: &'a [T],
    range: &'a [T],
}

impl Parted {
    pub(super) fn udaf(known: &'static Known, split: Split) -> Arc<AggregateUDF> {
        let name = format!("{}{}", known.name, split.suffix());
        let aliases = vec![name.to_lowercase()];
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(AggregateUDF::from(Parted { name, aliases, known, split, signature }))
    }

    /// Arguments, the key of -Resample, the function's parameters, then from, to and step.
    fn layout<'a, T>(&self, all: &'a [T]) -> Result<Layout<'a, T>> {
        let ends = if self.split == Split::Buckets { 3 } else { 0 };
        let keys = usize::from(self.split == Split::Buckets);
        let Some(rest) = all.len().checked_sub(ends + keys).filter(|rest| *rest > 0) else {
            return plan_err!("{} takes other arguments", self.name);
        };
        let arguments = match self.known.parameters {
            Parameters::None => rest,
            Parameters::Levels => 1,
            Parameters::Text => rest - 1,
        };
        let (given, range) = all.split_at(all.len() - ends);
        let (before, parameters) = given.split_at(arguments + keys);
        let (arguments, _) = before.split_at(arguments);
        Ok(Layout { arguments, parameters, range })
    }

    /// The function over the values of a part, and the type of the keys of maps.
    fn call(&self, types: &[DataType], parameters: Vec<ScalarValue>) -> Result<(Call, DataType)> {
        let layout = self.layout(types)?;
        let mut key = DataType::Null;
        let inner: Vec<DataType> = match self.split {
            Split::Positions => layout.arguments.iter().map(item_type).collect::<Result<_>>()?,
            Split::Buckets => layout.arguments.to_vec(),
            Split::Keys => {
                let [DataType::Map(entries, _)] = layout.arguments else {
                    return plan_err!("{} takes a map", self.name);
                };
                let DataType::Struct(fields) = entries.data_type() else {
                    return plan_err!("{} takes a map", self.name);
                };
                key = fields[0].data_type().clone();
                vec![fields[1].data_type().clone()]
            }
        };
        Ok((Call::new(self.known, &inner, parameters)?, key))
    }
}

// A name has one meaning, so it is the identity.
impl PartialEq for Parted {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Parted {}

impl Hash for Parted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

fn list_type(item: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item.clone(), true)))
}

fn map_field(key: &DataType, value: &DataType) -> FieldRef {
    let fields = Fields::from(vec![
        Field::new("key", key.clone(), false),
        Field::new("value", value.clone(), true),
    ]);
    Arc::new(Field::new("entries", DataType::Struct(fields), false))
}

impl AggregateUDFImpl for Parted {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (call, key) = self.call(types, Vec::new())?;
        Ok(match self.split {
            Split::Keys => DataType::Map(map_field(&key, call.return_type()), false),
            _ => list_type(call.return_type()),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{} does not take DISTINCT", self.name);
        }
        let types: Vec<DataType> =
            args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let literals: Vec<Option<ScalarValue>> = args
            .exprs
            .iter()
            .map(|expression| Some(expression.downcast_ref::<Literal>()?.value().clone()))
            .collect();
        let layout = self.layout(&literals)?;
        let constant = |value: &Option<ScalarValue>| match value {
            Some(ScalarValue::Utf8(text)) => Ok(ScalarValue::Utf8(text.clone())),
            Some(value) => value.cast_to(&DataType::Float64),
            None => plan_err!("the parameters of {} are constants", self.name),
        };
        let parameters = layout.parameters.iter().map(constant).collect::<Result<Vec<_>>>()?;
        let number = |value: &Option<ScalarValue>| match value {
            Some(value) => match value.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(Some(number)) => Ok(number),
                _ => plan_err!("the range of {} is whole numbers", self.name),
            },
            None => plan_err!("the range of {} is constant", self.name),
        };
        let range = layout.range.iter().map(number).collect::<Result<Vec<i64>>>()?;
        let (call, key) = self.call(&types, parameters)?;
        let mut parts = Parts {
            split: self.split,
            arguments: layout.arguments.len(),
            call,
            key,
            first: 0,
            step: 1,
            parts: Vec::new(),
            places: HashMap::new(),
        };
        if let [first, end, step] = range.as_slice() {
            let length = end.checked_sub(*first).filter(|length| *length > 0);
            let count = length.map_or(0, |length| (length + step.max(&1) - 1) / step.max(&1));
            if *step <= 0 || count == 0 || count > BUCKETS_MAX {
                return plan_err!("{} takes from, to and a positive step", self.name);
            }
            (parts.first, parts.step) = (*first, *step);
            parts.grow(count as usize)?;
        }
        Ok(Box::new(parts))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> =
            args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let (call, key) = self.call(&types, Vec::new())?;
        let inner = call.state_fields()?;
        let keys = (self.split == Split::Keys).then_some(key);
        let types = keys.into_iter().chain(inner.iter().map(|field| field.data_type().clone()));
        let field = |(at, data_type): (usize, DataType)| {
            Arc::new(Field::new(format!("{}[{at}]", args.name), list_type(&data_type), true))
        };
        Ok(types.enumerate().map(field).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The accumulators of one group.
#[derive(Debug)]
struct Parts {
    split: Split,
    arguments: usize,
    call: Call,
    key: DataType,
    first: i64,
    step: i64,
    parts: Vec<Box<dyn Accumulator>>,
    /// The part of each key of maps.
    places: HashMap<ScalarValue, usize>,
}

impl Parts {
    fn grow(&mut self, count: usize) -> Result<()> {
        while self.parts.len() < count {
            self.parts.push(self.call.accumulator()?);
        }
        Ok(())
    }

    /// The part of a key, a new one if it is new.
    fn place(&mut self, key: ScalarValue) -> Result<usize> {
        let next = self.places.len();
        let place = *self.places.entry(key).or_insert(next);
        self.grow(place + 1)?;
        Ok(place)
    }

    /// Gives each part the rows that are its own.
    fn update(&mut self, columns: &[ArrayRef], rows: Vec<Vec<u32>>) -> Result<()> {
        self.grow(rows.len())?;
        let wanted = self.call.argument_types();
        for (part, rows) in self.parts.iter_mut().zip(rows) {
            if rows.is_empty() {
                continue;
            }
            let rows = UInt32Array::from(rows);
            let taken = columns.iter().map(|column| take(column, &rows, None));
            let taken = taken.collect::<std::result::Result<Vec<ArrayRef>, _>>()?;
            part.update_batch(&fitted(taken, &wanted)?)?;
        }
        Ok(())
    }

    fn update_positions(&mut self, values: &[ArrayRef]) -> Result<()> {
        let all = values.iter().map(lists).collect::<Result<Vec<ListArray>>>()?;
        let Some(first) = all.first() else { return Ok(()) };
        let mut rows: Vec<Vec<u32>> = Vec::new();
        // The items of other arguments lie at the same positions, perhaps elsewhere in their arrays.
        let mut others: Vec<Vec<Vec<u32>>> = vec![Vec::new(); all.len() - 1];
        for row in 0..first.len() {
            let range = range_of(first, row);
            if rows.len() < range.len() {
                rows.resize(range.len(), Vec::new());
                others.iter_mut().for_each(|other| other.resize(range.len(), Vec::new()));
            }
            for (position, at) in range.clone().enumerate() {
                rows[position].push(at as u32);
            }
            for (other, list) in others.iter_mut().zip(&all[1..]) {
                let of_other = range_of(list, row);
                if of_other.len() != range.len() {
                    return exec_err!("the arrays of a row differ in length");
                }
                for (position, at) in of_other.enumerate() {
                    other[position].push(at as u32);
                }
            }
        }
        self.grow(rows.len())?;
        let wanted = self.call.argument_types();
        for (position, first_rows) in rows.into_iter().enumerate() {
            let mut taken = vec![take(first.values(), &UInt32Array::from(first_rows), None)?];
            for (other, list) in others.iter().zip(&all[1..]) {
                let rows = UInt32Array::from(other[position].clone());
                taken.push(take(list.values(), &rows, None)?);
            }
            self.parts[position].update_batch(&fitted(taken, &wanted)?)?;
        }
        Ok(())
    }

    fn update_buckets(&mut self, values: &[ArrayRef]) -> Result<()> {
        let keys = integers(&values[self.arguments])?;
        let mut rows = vec![Vec::new(); self.parts.len()];
        for (row, key) in keys.iter().enumerate() {
            let bucket = key.and_then(|key| key.checked_sub(self.first));
            let bucket = bucket.filter(|distance| *distance >= 0).map(|d| (d / self.step) as usize);
            if let Some(rows) = bucket.and_then(|bucket| rows.get_mut(bucket)) {
                rows.push(row as u32);
            }
        }
        let columns = values[..self.arguments].to_vec();
        self.update(&columns, rows)
    }

    fn update_keys(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(maps) = values[0].as_map_opt() else {
            return exec_err!("a map is expected, not {}", values[0].data_type());
        };
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.parts.len()];
        for row in (0..maps.len()).filter(|row| maps.is_valid(*row)) {
            for at in maps.value_offsets()[row] as usize..maps.value_offsets()[row + 1] as usize {
                let place = self.place(ScalarValue::try_from_array(maps.keys(), at)?)?;
                if rows.len() <= place {
                    rows.resize(place + 1, Vec::new());
                }
                rows[place].push(at as u32);
            }
        }
        self.update(&[Arc::clone(maps.values())], rows)
    }

    /// The keys of the maps by their places.
    fn keys(&self) -> Result<ArrayRef> {
        let mut keys: Vec<(&ScalarValue, usize)> =
            self.places.iter().map(|(key, place)| (key, *place)).collect();
        keys.sort_by_key(|(_, place)| *place);
        match keys.is_empty() {
            true => Ok(new_empty_array(&self.key)),
            false => ScalarValue::iter_to_array(keys.into_iter().map(|(key, _)| key.clone())),
        }
    }
}

/// The values in the types that the function wants.
fn fitted(values: Vec<ArrayRef>, wanted: &[DataType]) -> Result<Vec<ArrayRef>> {
    let fit =
        |(values, data_type): (ArrayRef, &DataType)| Ok(arrow::compute::cast(&values, data_type)?);
    values.into_iter().zip(wanted).map(fit).collect()
}

fn only_list(items: ArrayRef) -> Result<ScalarValue> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, items, None)?)))
}

fn column(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    let values = match values.is_empty() {
        true => new_empty_array(data_type),
        false => ScalarValue::iter_to_array(values)?,
    };
    Ok(arrow::compute::cast(&values, data_type)?)
}

impl Accumulator for Parts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.split {
            Split::Positions => self.update_positions(&values[..self.arguments]),
            Split::Buckets => self.update_buckets(values),
            Split::Keys => self.update_keys(values),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let all = states.iter().map(lists).collect::<Result<Vec<ListArray>>>()?;
        let of_keys = usize::from(self.split == Split::Keys);
        let Some(first) = all.first() else { return Ok(()) };
        for row in (0..first.len()).filter(|row| first.is_valid(*row)) {
            for position in 0..range_of(first, row).len() {
                let at = |list: &ListArray| range_of(list, row).start + position;
                let place = match self.split {
                    Split::Keys => {
                        self.place(ScalarValue::try_from_array(first.values(), at(first))?)?
                    }
                    _ => {
                        self.grow(position + 1)?;
                        position
                    }
                };
                let inner: Vec<ArrayRef> =
                    all[of_keys..].iter().map(|list| list.values().slice(at(list), 1)).collect();
                self.parts[place].merge_batch(&inner)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let fields = self.call.state_fields()?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
        for part in &mut self.parts {
            for (column, value) in columns.iter_mut().zip(part.state()?) {
                column.push(value);
            }
        }
        let mut states = Vec::with_capacity(fields.len() + 1);
        if self.split == Split::Keys {
            states.push(only_list(self.keys()?)?);
        }
        for (values, field) in columns.into_iter().zip(&fields) {
            states.push(only_list(column(values, field.data_type())?)?);
        }
        Ok(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.parts.iter_mut().map(|part| part.evaluate());
        let values = values.collect::<Result<Vec<ScalarValue>>>()?;
        let values = column(values, self.call.return_type())?;
        if self.split != Split::Keys {
            return only_list(values);
        }
        let keys = self.keys()?;
        let order = sort_to_indices(&keys, None, None)?;
        let field = map_field(&self.key, self.call.return_type());
        let DataType::Struct(fields) = field.data_type() else {
            return exec_err!("the entries of a map are tuples");
        };
        let columns = vec![take(&keys, &order, None)?, take(&values, &order, None)?];
        let offsets = OffsetBuffer::from_lengths([keys.len()]);
        let entries = StructArray::try_new(fields.clone(), columns, None)?;
        let map = MapArray::try_new(Arc::clone(&field), offsets, entries, None, false)?;
        Ok(ScalarValue::Map(Arc::new(map)))
    }

    fn size(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.size()).sum();
        size_of::<Self>() + parts + self.places.capacity() * size_of::<ScalarValue>()
    }
}
