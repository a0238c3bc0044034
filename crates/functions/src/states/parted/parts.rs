//! The accumulators of the parts of one group.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{sort_to_indices, take};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::Split;
use crate::gives;
use crate::rows::{integers, lists, range_of};
use crate::states::call::Call;

/// The accumulators of one group.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) split: Split,
    pub(super) arguments: usize,
    pub(super) call: Call,
    pub(super) key: DataType,
    pub(super) first: i64,
    pub(super) step: i64,
    pub(super) parts: Vec<Box<dyn Accumulator>>,
    /// The part of each key of maps.
    pub(super) places: HashMap<ScalarValue, usize>,
}

impl Parts {
    pub(super) fn grow(&mut self, count: usize) -> Result<()> {
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
        let field = gives::map_entries(&self.key, self.call.return_type());
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
